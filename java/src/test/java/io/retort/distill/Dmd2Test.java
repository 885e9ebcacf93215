package io.retort.distill;

import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;

import io.retort.MethodStepTest;
import io.retort.MethodSteps.Taken;
import io.retort.distill.Stage.Outcome;
import java.util.List;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;

/// DMD2 with the Embedding Loss.
class Dmd2Test implements MethodStepTest {
  @Override
  public MethodKind<?> kind() {
    return Dmd2.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "critic_steps=2",
        "gan=0.01",
        "critic_gan=0.03",
        "embedding.weight=1",
        "student.lr=3e-4",
        "student.cooldown=0",
        "critic.cooldown=0",
        "student.warmup=0",
        "student.eps=0.01",
        "critic.warmup=0",
        "critic.eps=0.01",
        "critic.lr=0.01",
        "batch=4",
        "real_batch=8",
        "embedding.width=8",
        "embedding.depth=2");
  }

  @Override
  public int stepsOnCuda() {
    return 3;
  }

  @Override
  public SequencedMap<String, Double> golden() {
    return MethodStepTest.golden(
        entry("student/distribution_matching", 3.311464),
        entry("student/gan", 0.8306013),
        entry("student/embedding", 4.171416),
        entry("student/student_gradient_norm", 0.4064986),
        entry("critic/denoising", 0.6830768),
        entry("critic/discriminator", 1.442933),
        entry("critic/critic_gradient_norm", 1.814841),
        entry("critic/head_gradient_norm", 0.06038236));
  }

  @Test
  void theEmbeddingLossAtWeightZeroIsNoEmbeddingLoss() {
    Taken without = take("dmd2.embedding.weight=0");
    Taken otherwise =
        take(
            "dmd2.embedding.weight=0",
            "dmd2.embedding.calibrated=false",
            "dmd2.embedding.networks=3",
            "dmd2.embedding.kernel=energy");

    assertThat(without.losses()).doesNotContainKey("student/embedding");
    assertThat(otherwise.losses()).isEqualTo(without.losses());
    without
        .after()
        .forEach(
            (role, weights) -> assertThat(otherwise.after().get(role)).as(role).isEqualTo(weights));
  }

  @Test
  void theCriticDoesNotNeedTheEmbeddingLoss() {
    Taken with = take("steps=1");
    Taken without = take("steps=1", "dmd2.embedding.weight=0");

    assertThat(with.losses().get("student/distribution_matching"))
        .isEqualTo(without.losses().get("student/distribution_matching"));
    assertThat(with.losses().get("student/gan")).isEqualTo(without.losses().get("student/gan"));
  }

  /// A critic that equals the teacher gives no direction: the student's score-difference gradient
  /// is exactly zero.
  @Test
  void noScoreDifferenceWhenTheCriticIsTheTeacher() {
    try (Stage stage = new Stage(recipe("dmd2.gan=0", "dmd2.embedding.weight=0"))) {
      Outcome outcome = stage.phase(0);

      assertThat(outcome.parts()).containsOnlyKeys("distribution_matching");
      assertThat(outcome.total()).isZero();
      assertThat(outcome.gradients().get(Method.STUDENT)).containsOnly(0f);
    }
  }

  @Test
  void aTermSwitchedOffLeavesItsNetworksOut() {
    try (Stage embedded = new Stage(recipe("dmd2.gan=0", "dmd2.distribution_matching=0"));
        Stage matched = new Stage(recipe("dmd2.gan=0"))) {
      assertThat(embedded.method().roles())
          .extracting(Method.Role::name)
          .containsExactly(Method.TEACHER, Method.STUDENT);
      assertThat(matched.method().roles())
          .extracting(Method.Role::name)
          .containsExactly(Method.TEACHER, Method.STUDENT, Method.CRITIC);
    }
  }
}
