package io.retort.distill;

import static io.retort.distill.Stage.doubles;
import static io.retort.distill.Stage.norm;
import static io.retort.distill.Stage.unit;
import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodStepTest;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.KarrasSigmas;
import io.retort.distill.Stage.Outcome;
import io.retort.grad.Var;
import io.retort.net.ClassExperts;
import io.retort.net.SongUNet;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import java.util.Arrays;
import java.util.List;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;

/// SNOOPI: its loss against a float64 one with negative classes, its gradient against finite
/// differences, what steering does.
class SnoopiTest implements MethodStepTest {
  private static final int BATCH = 4;
  private static final int CLASSES = 3;

  @Override
  public MethodKind<?> kind() {
    return Snoopi.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "teacher=builtin",
        "batch=" + BATCH,
        "guidance=1.5",
        "guidance_high=3",
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
        entry("student/score_difference", 0.000132555),
        entry("student/student_gradient_norm", 0.003684234),
        entry("critic/denoising", 0.6127037),
        entry("critic/critic_gradient_norm", 1.8402));
  }

  /// The student's images and `g` from the formula.
  private record Seen(double[] x, double[] direction) {}

  private static Seen seen(Stage stage) {
    return stage.with(nets -> {
      Noise noise = stage.noise(0);
      int[] labels = stage.batch().labels();
      PhiloxKey which = noise.key(Purpose.DATA);
      PhiloxKey howMuch = noise.key(Purpose.TIME);
      int[] others = new int[BATCH];
      float[] strength = new float[BATCH];
      for (int i = 0; i < BATCH; i++) {
        others[i] = (labels[i] + 1 + Philox.below(which, i, CLASSES - 1)) % CLASSES;
        assertThat(others[i]).isNotEqualTo(labels[i]);
        strength[i] = (float) Philox.uniform(howMuch, i);
      }
      Var z = noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 80);
      float[] top = new float[BATCH];
      Arrays.fill(top, 80);
      Var x = nets.steered(Method.STUDENT, z, top, labels, new Denoiser.Away(others, strength));
      float[] sigma = noise.bins(KarrasSigmas.EDM, BATCH, 1000, 0.02, 0.98);
      double k = 1.5 + 1.5 * Philox.uniform(noise.key(Purpose.TIME), 0);
      Var noised = noise.add(x, sigma);
      double[] wanted = doubles(nets.denoise(Method.TEACHER, noised, sigma, labels));
      double[] unwanted = doubles(nets.denoise(Method.TEACHER, noised, sigma, others));
      double[] told = doubles(nets.denoise(Method.CRITIC, noised, sigma, labels));
      double[] untold = doubles(nets.denoise(Method.CRITIC, noised, sigma, null));
      double[] direction = new double[wanted.length];
      for (int i = 0; i < direction.length; i++) {
        double s = sigma[i / (direction.length / BATCH)];
        double teacher = (1 - k) * unwanted[i] + k * wanted[i];
        double critic = (1 - k) * untold[i] + k * told[i];
        direction[i] = s / (1 + s * s) * (critic - teacher);
      }
      return new Seen(doubles(x), direction);
    });
  }

  @Test
  void theStudentsLossIsTheFormulas() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.CRITIC, 0.05)) {
      double[] g = seen(stage).direction;
      double expected = Arrays.stream(g).map(v -> v * v / 2 / g.length).sum();

      assertThat(stage.phase(0).parts().get("score_difference"))
          .isCloseTo(expected, within(1e-4 * expected));
    }
  }

  @Test
  void theStudentFollowsTheDirection() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.CRITIC, 0.05)) {
      double[] g = seen(stage).direction;
      float[] gradient = stage.phase(0).gradients().get(Method.STUDENT);

      double slope =
          stage.slope(
              Method.STUDENT,
              unit(gradient),
              1e-2,
              () -> {
                double[] x = seen(stage).x;
                double sum = 0;
                for (int i = 0; i < x.length; i++) {
                  sum += g[i] * x[i] / x.length;
                }
                return sum;
              });

      assertThat(slope).isCloseTo(norm(gradient), within(0.01 * norm(gradient)));
    }
  }

  @Test
  void nothingMovesTheStudentWithoutNegativesWhenTheCriticIsTheTeacher() {
    try (Stage stage = new Stage(recipe("snoopi.steer=0"))) {
      Outcome outcome = stage.phase(0);

      assertThat(outcome.total()).isZero();
      assertThat(outcome.gradients().get(Method.STUDENT)).containsOnly(0f);
    }
  }

  @Test
  void steeringByNothingChangesNothing() {
    try (Stage stage = new Stage(recipe())) {
      stage.with(nets -> {
        int[] labels = stage.batch().labels();
        int[] others = {2, 2, 2, 2};
        float[] sigma = {1, 2, 3, 4};
        Var x = nets.images(stage.batch(), BATCH);
        double[] plain = doubles(nets.denoise(Method.TEACHER, x, sigma, labels));
        float[] strength = {0, 0, 0, 1};
        double[] steered =
            doubles(
                nets.steered(
                    Method.TEACHER, x, sigma, labels, new Denoiser.Away(others, strength)));
        int three = plain.length / BATCH * 3;
        assertThat(Arrays.copyOf(steered, three)).isEqualTo(Arrays.copyOf(plain, three));
        assertThat(steered).isNotEqualTo(plain);
        return null;
      });
    }
  }

  /// Away from a class by one whole: its own embedding is gone, as with the null class.
  @Test
  void steeringIsLinearInTheEmbedding() {
    try (Stage stage = new Stage(recipe())) {
      stage.with(nets -> {
        int[] labels = stage.batch().labels();
        float[] sigma = {1, 2, 3, 4};
        Var x = nets.images(stage.batch(), BATCH);
        double[] untold = doubles(nets.denoise(Method.TEACHER, x, sigma, null));
        float[] whole = {1, 1, 1, 1};
        assertThat(
                doubles(
                    nets.steered(
                        Method.TEACHER, x, sigma, labels, new Denoiser.Away(labels, whole))))
            .isEqualTo(untold);
        return null;
      });
    }
  }

  @Test
  void guidanceHasAnOrder() {
    assertThatThrownBy(() -> recipe("snoopi.guidance=5"))
        .hasMessageContaining("guidance_high not below it, got 5.0 and 3.0");
  }

  @Test
  void guidanceNeedsANullClass() {
    SongUNet one = new SongUNet(new SongUNet.Config(8, 1, 3, 8, List.of(1, 1), 1, List.of(), 0, 0));
    ClassExperts without = new ClassExperts(one, 3);

    assertThatThrownBy(() -> new Snoopi(without, Snoopi.Settings.DEFAULT, 0.5))
        .hasMessageContaining("the teacher has no null class");
  }
}
