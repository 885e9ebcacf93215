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
import io.retort.tensor.PhiloxKey.Purpose;
import java.util.Arrays;
import java.util.List;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;

/// SwiftBrush: its loss against a float64 one in the paper's variance preserving terms, its
/// gradient against finite differences.
class SwiftBrushTest implements MethodStepTest {
  private static final int BATCH = 4;

  @Override
  public MethodKind<?> kind() {
    return SwiftBrush.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "batch=" + BATCH,
        "guidance_high=3",
        "guidance=1.5",
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
        entry("student/score_difference", 1.253657e-05),
        entry("student/student_gradient_norm", 0.001077569),
        entry("critic/denoising", 0.242109),
        entry("critic/critic_gradient_norm", 0.5981173));
  }

  /// The student's images and `sigma_t^2 (e_teacher - e_critic)` with both guided.
  private record Seen(double[] x, double[] direction) {}

  private static Var images(Stage stage, Nets nets, Noise noise) {
    float[] top = new float[BATCH];
    Arrays.fill(top, 80);
    Var z = noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 80);
    return nets.denoise(Method.STUDENT, z, top, stage.batch().labels());
  }

  private static Seen seen(Stage stage) {
    return stage.with(nets -> {
      Noise noise = stage.noise(0);
      int[] labels = stage.batch().labels();
      Var x = images(stage, nets, noise);
      float[] sigma = noise.bins(KarrasSigmas.EDM, BATCH, 1000, 0.02, 0.98);
      double scale = 1.5 + 1.5 * Philox.uniform(noise.key(Purpose.TIME), 0);
      Var noised = noise.add(x, sigma);
      double[] teacher = guided(nets, Method.TEACHER, noised, sigma, labels, scale);
      double[] critic = guided(nets, Method.CRITIC, noised, sigma, labels, scale);
      double[] direction = new double[teacher.length];
      for (int i = 0; i < direction.length; i++) {
        double s = sigma[i / (direction.length / BATCH)];
        double alpha = 1 / Math.sqrt(1 + s * s);
        double deviation = s * alpha;
        // e = (x_t - alpha D) / deviation, so e_teacher - e_critic = alpha (D_critic - D_teacher) /
        // deviation
        double noises = alpha * (critic[i] - teacher[i]) / deviation;
        direction[i] = deviation * deviation * noises;
      }
      return new Seen(doubles(x), direction);
    });
  }

  private static double[] guided(
      Nets nets, String role, Var noised, float[] sigma, int[] labels, double scale) {
    double[] told = doubles(nets.denoise(role, noised, sigma, labels));
    int[] none = new int[labels.length];
    Arrays.fill(none, Denoiser.NO_CLASS);
    double[] untold = doubles(nets.denoise(role, noised, sigma, none));
    double[] guided = new double[told.length];
    for (int i = 0; i < guided.length; i++) {
      guided[i] = untold[i] + scale * (told[i] - untold[i]);
    }
    return guided;
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

  /// Score distillation: `mean((sigma / (1 + sigma^2) (x - D_teacher))^2) / 2`, and no critic to
  /// train.
  @Test
  void withoutTheCriticsScoreTheSampleStandsInItsPlace() {
    try (Stage stage = new Stage(recipe("swiftbrush.critic_score=false"))) {
      double expected =
          stage.with(nets -> {
            Noise noise = stage.noise(0);
            Var x = images(stage, nets, noise);
            float[] sigma = noise.bins(KarrasSigmas.EDM, BATCH, 1000, 0.02, 0.98);
            double scale = 1.5 + 1.5 * Philox.uniform(noise.key(Purpose.TIME), 0);
            Var noised = noise.add(x, sigma);
            double[] clean = doubles(x);
            double[] teacher =
                guided(nets, Method.TEACHER, noised, sigma, stage.batch().labels(), scale);
            double sum = 0;
            for (int i = 0; i < clean.length; i++) {
              double s = sigma[i / (clean.length / BATCH)];
              sum += Math.pow(s / (1 + s * s) * (clean[i] - teacher[i]), 2) / 2 / clean.length;
            }
            return sum;
          });

      assertThat(stage.phase(0).parts().get("score_difference"))
          .isCloseTo(expected, within(1e-4 * expected));
    }
    assertThat(take("swiftbrush.critic_score=false").before())
        .containsOnlyKeys(Method.TEACHER, Method.STUDENT);
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
              () ->
                  stage.with(nets -> {
                    double[] x = doubles(images(stage, nets, stage.noise(0)));
                    double sum = 0;
                    for (int i = 0; i < x.length; i++) {
                      sum += g[i] * x[i] / x.length;
                    }
                    return sum;
                  }));

      assertThat(slope).isCloseTo(norm(gradient), within(0.01 * norm(gradient)));
    }
  }

  @Test
  void nothingMovesTheStudentWhenTheCriticIsTheTeacher() {
    try (Stage stage = new Stage(recipe())) {
      Outcome outcome = stage.phase(0);

      assertThat(outcome.total()).isZero();
      assertThat(outcome.gradients().get(Method.STUDENT)).containsOnly(0f);
    }
  }

  @Test
  void theCriticIsNotAlwaysToldTheClass() {
    int[] labels = new int[2000];
    int[] dropped = new Noise(1, 2, 3).dropped(labels, 0.1);

    assertThat(Arrays.stream(dropped).filter(label -> label == Denoiser.NO_CLASS).count())
        .isBetween(150L, 250L);
    assertThat(new Noise(1, 2, 3).dropped(labels, 0)).isEqualTo(labels);
    assertThat(take("swiftbrush.label_dropout=0.9").losses())
        .isNotEqualTo(take("swiftbrush.label_dropout=0").losses());
  }

  @Test
  void guidanceNeedsANullClass() {
    SongUNet one = new SongUNet(new SongUNet.Config(8, 1, 3, 8, List.of(1, 1), 1, List.of(), 0, 0));
    ClassExperts without = new ClassExperts(one, 3);

    assertThatThrownBy(() -> new SwiftBrush(without, SwiftBrush.Settings.DEFAULT, 0.5))
        .hasMessageContaining("the teacher has no null class");
  }
}
