package io.retort.distill;

import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;

import io.retort.MethodStepTest;
import java.util.List;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;

/// The teacher's training.
class EdmTrainingTest implements MethodStepTest {
  @Override
  public MethodKind<?> kind() {
    return EdmTraining.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of();
  }

  @Override
  public int stepsOnCuda() {
    return 3;
  }

  @Override
  public SequencedMap<String, Double> golden() {
    return MethodStepTest.golden(
        entry("denoise/denoising", 1.136008), entry("denoise/teacher_gradient_norm", 2.253824));
  }

  @Test
  void theNetworkMayBeAdm() {
    assertThat(take("network.kind=dhariwal_unet").losses().firstEntry().getValue())
        .isBetween(0.5, 2.0)
        .isNotEqualTo(take().losses().firstEntry().getValue());
  }

  @Test
  void aTeacherThatIsToBeGuidedIsNotAlwaysToldTheClass() {
    assertThat(take("edm.label_dropout=0.5").losses()).isNotEqualTo(take().losses());
    assertThat(take("edm.label_dropout=0").losses()).isEqualTo(take().losses());
  }
}
