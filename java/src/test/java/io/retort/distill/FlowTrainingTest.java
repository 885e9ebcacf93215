package io.retort.distill;

import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodStepTest;
import io.retort.MethodSteps;
import io.retort.backend.CpuBackend;
import io.retort.checkpoint.ModelConfig;
import io.retort.checkpoint.TrainingCheckpoint;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.Preconditioning;
import io.retort.distill.FlowTraining.Settings;
import io.retort.distill.FlowTraining.Times;
import io.retort.net.DiffusionNet;
import io.retort.recipe.Recipe;
import io.retort.recipe.RecipeException;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.train.Trainer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Flow matching, of a DiT unless said otherwise.
class FlowTrainingTest implements MethodStepTest {
  private static final PhiloxKey KEY = new PhiloxKey(1, Purpose.TIME, 0, 0);

  @Override
  public MethodKind<?> kind() {
    return FlowTraining.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of("batch=4", "optimizer.warmup=0", "optimizer.eps=0.01");
  }

  @Override
  public Recipe recipe(String... sets) {
    String[] all =
        Arrays.copyOf(new String[] {"network.kind=dit", "network.heads=2"}, 2 + sets.length);
    System.arraycopy(sets, 0, all, 2, sets.length);
    return MethodSteps.recipe(kind(), settings(), all);
  }

  @Override
  public SequencedMap<String, Double> golden() {
    return MethodStepTest.golden(
        entry("flow/velocity", 1.419230), entry("flow/teacher_gradient_norm", 0.693212));
  }

  /// The whole formula, a second way: the network begins as zero, so the loss is the mean of
  /// `(noise - clean)^2` until it has learnt something.
  @Test
  void aNetworkThatSaysNothingHasTheLossOfTheVelocityItself() {
    double loss = take("steps=1").losses().firstEntry().getValue();
    assertThat(loss).isBetween(0.9, 2.2);
  }

  @ParameterizedTest
  @ValueSource(strings = {"network.kind=unet2d", "flow.times=uniform", "flow.label_dropout=0.5"})
  void otherNetworksAndTimesLearnToo(String set) {
    assertThat(take(set).losses()).isNotEqualTo(take().losses());
  }

  @ParameterizedTest
  @ValueSource(strings = {"unet2d", "dit"})
  void aRunContinuesExactlyAndItsConfigurationDescribesTheNetwork(
      String kind, @TempDir Path folder) {
    Recipe recipe = recipe("network.kind=" + kind);
    CpuBackend cpu = CpuBackend.open();
    try (Trainer whole = MethodSteps.trainer(recipe, cpu);
        Trainer second = MethodSteps.trainer(recipe, cpu)) {
      var batches = MethodSteps.batches(recipe, whole, cpu);
      whole.run(batches, () -> whole.step() == 2, event -> {});
      TrainingCheckpoint.load(TrainingCheckpoint.save(folder, whole, 1), second);
      whole.run(batches, () -> false, event -> {});
      second.run(batches, () -> false, event -> {});
      assertThat(second.roles().firstEntry().getValue().weights().values().floats())
          .isEqualTo(whole.roles().firstEntry().getValue().weights().values().floats());
      DiffusionNet network = (DiffusionNet) whole.roles().get(Method.TEACHER).role().net();
      Denoiser denoiser = new Denoiser(network, whole.spec().preconditioning());
      assertThat(denoiser.preconditioning()).isEqualTo(new Preconditioning.Flow(1000));
      Denoiser read = ModelConfig.denoiser(new LinkedHashMap<>(ModelConfig.of(denoiser)));
      assertThat(read.preconditioning()).isEqualTo(denoiser.preconditioning());
      assertThat(read.network().plan().shapes()).isEqualTo(network.plan().shapes());
    }
  }

  @Test
  void timesHaveTheirDistribution() {
    double[] uniform = settings(Times.UNIFORM, 0).draw(KEY, 20_000);
    double[] logit = settings(Times.LOGIT_NORMAL, 0).draw(KEY, 20_000);
    double[] noisy = settings(Times.LOGIT_NORMAL, 1).draw(KEY, 20_000);
    assertThat(below(uniform, 0.25)).isCloseTo(0.25, within(0.01));
    // P(n < ln(1/3)) of a standard normal n.
    assertThat(below(logit, 0.25)).isCloseTo(0.136, within(0.01));
    assertThat(below(logit, 0.5)).isCloseTo(0.5, within(0.01));
    assertThat(below(noisy, 0.5)).isCloseTo(0.1587, within(0.01));
    assertThat(Arrays.stream(uniform).min().orElseThrow()).isGreaterThanOrEqualTo(1e-3);
  }

  private static Settings settings(Times times, double mean) {
    Settings usual = Settings.DEFAULT;
    return new Settings(64, times, mean, 1, 1000, 0, usual.optimizer());
  }

  private static double below(double[] values, double limit) {
    return Arrays.stream(values).filter(value -> value < limit).count() / (double) values.length;
  }

  @Test
  void networksAndMethodsThatDoNotGoTogetherAreRefused() {
    assertRefused("must be unet2d or dit for the method flow", FlowTraining.KIND, "song_unet");
    assertRefused("must be song_unet or dhariwal_unet for the method edm", EdmTraining.KIND, "dit");
    Recipe unconditional = recipe("network.conditional=false");
    assertThatThrownBy(() -> MethodSteps.trainer(unconditional, CpuBackend.open()))
        .isInstanceOf(RecipeException.class)
        .hasMessageContaining("conditional must be true");
  }

  private static void assertRefused(String reason, MethodKind<?> method, String network) {
    Recipe recipe = MethodSteps.recipe(method, List.of(), "network.kind=" + network);
    assertThatThrownBy(() -> MethodSteps.trainer(recipe, CpuBackend.open()))
        .isInstanceOf(RecipeException.class)
        .hasMessageContaining(reason);
  }
}
