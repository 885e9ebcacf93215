package io.retort.distill;

import static io.retort.distill.Stage.doubles;
import static io.retort.distill.Stage.norm;
import static io.retort.distill.Stage.unit;
import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodStepTest;
import io.retort.MethodSteps.Taken;
import io.retort.distill.Stage.Outcome;
import io.retort.grad.Var;
import java.util.List;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;

/// Diff-Instruct: its losses against float64 ones computed from the networks' outputs, its gradient
/// against finite differences.
class DiffInstructTest implements MethodStepTest {
  private static final int BATCH = 4;

  @Override
  public MethodKind<?> kind() {
    return DiffInstruct.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "batch=" + BATCH,
        "real_batch=8",
        "embedding.width=8",
        "embedding.depth=2",
        "student.warmup=0",
        "student.cooldown=0",
        "student.eps=0.01",
        "critic.warmup=0",
        "critic.cooldown=0",
        "critic.eps=0.01",
        "critic.lr=0.01");
  }

  @Override
  public SequencedMap<String, Double> golden() {
    return MethodStepTest.golden(
        entry("critic/denoising", 23.32155),
        entry("critic/critic_gradient_norm", 53.68835),
        entry("student/score_difference", 0.1661887),
        entry("student/student_gradient_norm", 0.9836305));
  }

  /// What the student phase sees, in its order.
  private record Seen(double[] x, double[] byTeacher, double[] byCritic) {}

  private static Seen seen(Stage stage) {
    return seen(stage, 1, Method.CRITIC);
  }

  private static Seen seen(Stage stage, int phase, String critic) {
    return stage.with(nets -> {
      Noise noise = stage.noise(phase);
      int[] labels = stage.batch().labels(BATCH);
      Var x = images(stage, nets, noise);
      float[] sigma = noise.logNormal(BATCH, -1.2, 1.2);
      Var noised = noise.add(x, sigma);
      return new Seen(
          doubles(x),
          doubles(nets.denoise(Method.TEACHER, noised, sigma, labels)),
          doubles(nets.denoise(critic, noised, sigma, labels)));
    });
  }

  /// `D(1.0 z; 1.0)`.
  private static Var images(Stage stage, Nets nets, Noise noise) {
    Var latents = noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 1);
    float[] ones = {1, 1, 1, 1};
    return nets.denoise(Method.STUDENT, latents, ones, stage.batch().labels(BATCH));
  }

  @Test
  void theStudentsLossIsTheFormulas() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.CRITIC, 0.05)) {
      Seen seen = seen(stage);
      double expected = 0;
      for (int i = 0; i < seen.x.length; i++) {
        expected += Math.pow(seen.byCritic[i] - seen.byTeacher[i], 2) / (2 * BATCH);
      }

      assertThat(stage.phase(1).parts().get("score_difference"))
          .isCloseTo(expected, within(1e-5 * expected));
    }
  }

  /// The gradient is that of `sum (f - r) x / N` with f - r held constant.
  @Test
  void theStudentFollowsTheScoreDifference() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.CRITIC, 0.05)) {
      Seen seen = seen(stage);
      float[] gradient = stage.phase(1).gradients().get(Method.STUDENT);

      double slope =
          stage.slope(
              Method.STUDENT,
              unit(gradient),
              1e-2,
              () ->
                  stage.with(nets -> {
                    double[] x = doubles(images(stage, nets, stage.noise(1)));
                    double sum = 0;
                    for (int i = 0; i < x.length; i++) {
                      sum += (seen.byCritic[i] - seen.byTeacher[i]) * x[i] / BATCH;
                    }
                    return sum;
                  }));

      assertThat(slope).isCloseTo(norm(gradient), within(0.01 * norm(gradient)));
    }
  }

  /// Score distillation: the gradient of `sum (x - D_teacher) x / N`, and no critic to train.
  @Test
  void withoutTheCriticsScoreTheSampleStandsInItsPlace() {
    try (Stage stage = new Stage(recipe("diff_instruct.critic_score=false"))) {
      Seen seen = seen(stage, 0, Method.TEACHER);
      double expected = 0;
      for (int i = 0; i < seen.x.length; i++) {
        expected += Math.pow(seen.x[i] - seen.byTeacher[i], 2) / (2 * BATCH);
      }

      assertThat(stage.phase(0).parts().get("score_difference"))
          .isCloseTo(expected, within(1e-5 * expected));
    }
    assertThat(take("diff_instruct.critic_score=false").before())
        .containsOnlyKeys(Method.TEACHER, Method.STUDENT);
  }

  @Test
  void theCriticsLossIsTheFormulas() {
    try (Stage stage = new Stage(recipe())) {
      double expected =
          stage.with(nets -> {
            Noise noise = stage.noise(0);
            int[] labels = stage.batch().labels(BATCH);
            Var x = images(stage, nets, noise);
            float[] sigma = noise.logNormal(BATCH, -1.2, 1.2);
            double[] clean = doubles(x);
            double[] denoised =
                doubles(nets.denoise(Method.CRITIC, noise.add(x, sigma), sigma, labels));
            double sum = 0;
            for (int i = 0; i < clean.length; i++) {
              double s = sigma[i / (clean.length / BATCH)];
              sum += (1 / (s * s) + 4) * Math.pow(denoised[i] - clean[i], 2) / BATCH;
            }
            return sum;
          });

      assertThat(stage.phase(0).parts().get("denoising"))
          .isCloseTo(expected, within(1e-5 * expected));
    }
  }

  @Test
  void nothingMovesTheStudentWhenTheCriticIsTheTeacher() {
    try (Stage stage = new Stage(recipe())) {
      Outcome outcome = stage.phase(1);

      assertThat(outcome.total()).isZero();
      assertThat(outcome.gradients().get(Method.STUDENT)).containsOnly(0f);
    }
  }

  @Test
  void theEmbeddingLossIsATermThatCanBeLeftOut() {
    Taken off = take("diff_instruct.embedding.networks=3");
    Taken on = take("diff_instruct.embedding.weight=0.5");

    assertThat(take().losses()).isEqualTo(off.losses());
    assertThat(on.losses()).containsKey("student/embedding");
    take()
        .after()
        .forEach((role, weights) -> assertThat(off.after().get(role)).as(role).isEqualTo(weights));
  }
}
