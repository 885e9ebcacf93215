package io.retort.distill;

import static io.retort.distill.Stage.norm;
import static io.retort.distill.Stage.unit;
import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodStepTest;
import io.retort.MethodSteps;
import io.retort.MethodSteps.Taken;
import io.retort.backend.CpuBackend;
import io.retort.distill.Stage.Outcome;
import io.retort.grad.Parameters;
import io.retort.net.Lora;
import io.retort.op.Backend;
import io.retort.recipe.Recipe;
import io.retort.train.RoleState;
import io.retort.train.Trainer;
import java.util.List;
import java.util.Objects;
import java.util.SequencedMap;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// SwiftBrush with adapters of the teacher as its critic.
class SwiftBrushLoraTest implements MethodStepTest {

  @Override
  public MethodKind<?> kind() {
    return SwiftBrush.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "batch=4",
        "lora.rank=2",
        "lora.alpha=4",
        "student.warmup=0",
        "student.cooldown=0",
        "student.eps=0.01",
        "critic.warmup=0",
        "critic.cooldown=0",
        "critic.eps=0.01",
        "critic.lr=0.1");
  }

  @Override
  public SequencedMap<String, Double> golden() {
    return MethodStepTest.golden(
        entry("student/score_difference", 1.136297e-05),
        entry("student/student_gradient_norm", 0.001686869),
        entry("critic/denoising", 0.2619194),
        entry("critic/critic_gradient_norm", 0.8469185));
  }

  /// The critic is the teacher with adapters.
  @Test
  @Tag("device")
  void graphsTakeTheSameSteps() {
    assertThat(MethodSteps.assertGraphsChangeNothing(recipe("swiftbrush.batch=1")))
        .anySatisfy(remark -> assertThat(remark).contains(" is captured, "));
  }

  @Test
  void theCriticBeginsAsTheTeacherAndHoldsItsAdaptersAlone() {
    try (Stage adapted = new Stage(recipe());
        Stage whole = new Stage(recipe("swiftbrush.lora.rank=0"))) {
      Outcome outcome = adapted.phase(0);

      assertThat(outcome.total()).isZero();
      assertThat(outcome.gradients().get(Method.STUDENT)).containsOnly(0f);
      assertThat(adapted.phase(1).total()).isEqualTo(whole.phase(1).total());
      assertThat(adapted.weights(Method.CRITIC).count())
          .isLessThan(whole.weights(Method.CRITIC).count() / 2);
    }
  }

  @Test
  void theCriticsGradientIsThatOfItsLoss() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.CRITIC, 0.05)) {
      float[] gradient = stage.phase(1).gradients().get(Method.CRITIC);

      double slope = stage.slope(Method.CRITIC, unit(gradient), 1e-2, () -> stage.phase(1).total());

      assertThat(slope).isCloseTo(norm(gradient), within(0.01 * norm(gradient)));
    }
  }

  /// What is sampled and kept of a student of adapters is a plain network with the same images.
  @Test
  void aStudentOfAdaptersIsMergedForSampling() {
    Recipe recipe = recipe("swiftbrush.student_lora.rank=2", "swiftbrush.student.lr=0.1");
    Backend cpu = CpuBackend.open();
    try (Trainer trainer = MethodSteps.trainer(recipe, cpu)) {
      RoleState teacher = Objects.requireNonNull(trainer.roles().get(Method.TEACHER));
      RoleState student = Objects.requireNonNull(trainer.roles().get(Method.STUDENT));
      assertThat(trainer.sampled(Method.STUDENT).values().floats())
          .isEqualTo(teacher.weights().values().floats());

      trainer.run(MethodSteps.batches(recipe, trainer, cpu), () -> false, event -> {});

      Lora lora = (Lora) student.role().net();
      try (Parameters merged = lora.base().plan().allocate(cpu.memory())) {
        lora.merge(cpu, teacher.weights(), student.best(), merged);
        assertThat(trainer.sampled(Method.STUDENT).values().floats())
            .isEqualTo(merged.values().floats())
            .isNotEqualTo(teacher.weights().values().floats());
      }
    }
  }

  @Test
  void adaptersOfAttentionAreLearntToo() {
    Taken taken = take("swiftbrush.lora.layers=attention");

    assertThat(taken.after().get(Method.CRITIC)).isNotEqualTo(taken.before().get(Method.CRITIC));
    assertThat(taken.after().get(Method.CRITIC).length)
        .isLessThan(take().after().get(Method.CRITIC).length);
  }
}
