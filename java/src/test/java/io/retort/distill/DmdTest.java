package io.retort.distill;

import static io.retort.distill.Stage.doubles;
import static io.retort.distill.Stage.norm;
import static io.retort.distill.Stage.unit;
import static java.util.Map.entry;
import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodStepTest;
import io.retort.MethodSteps.Taken;
import io.retort.data.Batch;
import io.retort.diffusion.KarrasSigmas;
import io.retort.distill.Stage.Outcome;
import io.retort.grad.Var;
import java.util.Arrays;
import java.util.List;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;

/// DMD: its losses against float64 ones computed from the networks' outputs, its gradient against
/// finite differences.
class DmdTest implements MethodStepTest {
  private static final int BATCH = 4;

  @Override
  public MethodKind<?> kind() {
    return Dmd.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "batch=" + BATCH,
        "real_batch=8",
        "pairs=16",
        "pair_steps=2",
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
        entry("student/distribution_matching", 1.62965),
        entry("student/regression", 1689.885),
        entry("student/student_gradient_norm", 14.19076),
        entry("critic/denoising", 0.6719398),
        entry("critic/critic_gradient_norm", 1.123099));
  }

  /// What the student phase sees, in its order.
  private record Seen(double[] x, double[] byTeacher, double[] byCritic, double[] regressed) {

    /// `(f - r) / mean |x - r|`.
    double[] difference() {
      int pixels = x.length / BATCH;
      double[] far = new double[BATCH];
      for (int i = 0; i < x.length; i++) {
        far[i / pixels] += Math.abs(x[i] - byTeacher[i]) / pixels;
      }
      double[] difference = new double[x.length];
      for (int i = 0; i < x.length; i++) {
        difference[i] = (byCritic[i] - byTeacher[i]) / far[i / pixels];
      }
      return difference;
    }

    double regression(Batch.Pairs pairs) {
      double sum = 0;
      for (int i = 0; i < regressed.length; i++) {
        sum += Math.pow(regressed[i] - pairs.images()[i], 2);
      }
      return sum / regressed.length;
    }
  }

  private static Seen seen(Stage stage) {
    return stage.with(nets -> {
      Noise noise = stage.noise(0);
      int[] labels = stage.batch().labels(BATCH);
      float[] top = new float[BATCH];
      Arrays.fill(top, 80);
      Var latents = noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 80);
      Var x = nets.denoise(Method.STUDENT, latents, top, labels);
      float[] sigma = noise.bins(KarrasSigmas.EDM, BATCH, 1000, 0.02, 0.98);
      Var noised = noise.add(x, sigma);
      Batch.Pairs pairs = pairs(stage);
      Var given = nets.tape().constant(x.shape(), pairs.latents()).scale(80);
      return new Seen(
          doubles(x),
          doubles(nets.denoise(Method.TEACHER, noised, sigma, labels)),
          doubles(nets.denoise(Method.CRITIC, noised, sigma, labels)),
          doubles(nets.denoise(Method.STUDENT, given, top, pairs.labels())));
    });
  }

  private static Batch.Pairs pairs(Stage stage) {
    return requireNonNull(stage.batch().pairs());
  }

  @Test
  void theStudentsLossIsTheFormulas() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.CRITIC, 0.05)) {
      Seen seen = seen(stage);
      double matching = Arrays.stream(seen.difference()).map(g -> g * g / 2 / seen.x.length).sum();
      double regression = seen.regression(pairs(stage));

      Outcome outcome = stage.phase(0);

      assertThat(outcome.parts().get("distribution_matching"))
          .isCloseTo(matching, within(1e-5 * matching));
      assertThat(outcome.parts().get("regression"))
          .isCloseTo(regression, within(1e-5 * regression));
      assertThat(outcome.total())
          .isCloseTo(matching + 0.25 * regression, within(1e-5 * outcome.total()));
    }
  }

  @Test
  void theStudentFollowsBothTerms() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.CRITIC, 0.05)) {
      double[] difference = seen(stage).difference();
      float[] gradient = stage.phase(0).gradients().get(Method.STUDENT);

      double slope =
          stage.slope(
              Method.STUDENT,
              unit(gradient),
              1e-2,
              () -> {
                Seen moved = seen(stage);
                double sum = 0.25 * moved.regression(pairs(stage));
                for (int i = 0; i < difference.length; i++) {
                  sum += difference[i] * moved.x[i] / difference.length;
                }
                return sum;
              });

      assertThat(slope).isCloseTo(norm(gradient), within(0.01 * norm(gradient)));
    }
  }

  @Test
  void nothingMovesTheStudentWhenTheCriticIsTheTeacher() {
    try (Stage stage = new Stage(recipe("dmd.regression=0"))) {
      Outcome outcome = stage.phase(0);

      assertThat(outcome.parts()).containsOnlyKeys("distribution_matching");
      assertThat(outcome.total()).isZero();
      assertThat(outcome.gradients().get(Method.STUDENT)).containsOnly(0f);
    }
  }

  @Test
  void aRegressionAloneNeedsNoCritic() {
    Taken taken = take("dmd.distribution_matching=0");

    assertThat(taken.before()).containsOnlyKeys(Method.TEACHER, Method.STUDENT);
    assertThat(taken.losses())
        .containsOnlyKeys("student/regression", "student/student_gradient_norm");
  }

  @Test
  void theEmbeddingLossIsATermThatCanBeLeftOut() {
    Taken plain = take();
    Taken off = take("dmd.embedding.networks=3");
    Taken on = take("dmd.embedding.weight=0.5");

    assertThat(off.losses()).isEqualTo(plain.losses());
    plain
        .after()
        .forEach((role, weights) -> assertThat(off.after().get(role)).as(role).isEqualTo(weights));
    assertThat(on.losses()).containsKey("student/embedding");
  }
}
