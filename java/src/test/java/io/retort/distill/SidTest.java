package io.retort.distill;

import static io.retort.distill.Stage.doubles;
import static io.retort.distill.Stage.norm;
import static io.retort.distill.Stage.unit;
import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodStepTest;
import io.retort.MethodSteps.Taken;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.KarrasSigmas;
import io.retort.distill.Stage.Outcome;
import io.retort.grad.Var;
import io.retort.tensor.PhiloxKey.Purpose;
import java.util.Arrays;
import java.util.List;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;

/// SiD and SiDA: losses against float64 ones computed from the networks' outputs, gradients against
/// finite differences through teacher and critic.
class SidTest implements MethodStepTest {
  private static final int BATCH = 4;
  private static final double ALPHA = 1.2;

  @Override
  public MethodKind<?> kind() {
    return Sid.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "batch=" + BATCH,
        "gan=0.5",
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
        entry("critic/denoising", 15.60665),
        entry("critic/discriminator", 1.382141),
        entry("critic/critic_gradient_norm", 55.93314),
        entry("student/divergence", 0.269764),
        entry("student/gan", 80.18173),
        entry("student/student_gradient_norm", 329.5736));
  }

  /// What the student phase sees, in its order.
  ///
  /// @param logits of the discriminator, all of a sample one after another
  private record Seen(double[] x, double[] byTeacher, double[] byCritic, double[] logits) {

    double[] weights() {
      double[] weights = new double[BATCH];
      for (int i = 0; i < x.length; i++) {
        weights[i / (x.length / BATCH)] += Math.abs(x[i] - byTeacher[i]) / (x.length / BATCH);
      }
      return weights;
    }

    double divergence(double[] weights) {
      double sum = 0;
      for (int i = 0; i < x.length; i++) {
        double gap = byTeacher[i] - byCritic[i];
        double pull = byTeacher[i] - x[i];
        sum += gap * (pull - ALPHA * gap) / weights[i / (x.length / BATCH)] / BATCH;
      }
      return sum;
    }

    double deception(double[] weights) {
      double sum = 0;
      for (int i = 0; i < logits.length; i++) {
        double clamped = Math.clamp(logits[i], -10, 10);
        sum += Math.log1p(Math.exp(-clamped)) / weights[i / (logits.length / BATCH)];
      }
      return sum / logits.length;
    }

    double total(double[] weights) {
      double pixels = x.length / (double) BATCH;
      return 0.5 * 100 * divergence(weights) + 0.5 * 0.01 * pixels * deception(weights);
    }
  }

  private static Seen seen(Stage stage) {
    return stage.with(nets -> {
      Noise noise = stage.noise(1);
      int[] labels = stage.batch().labels(BATCH);
      Var latents = noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 2.5);
      float[] start = new float[BATCH];
      Arrays.fill(start, 2.5f);
      Var x = nets.denoise(Method.STUDENT, latents, start, labels);
      float[] sigma = noise.places(KarrasSigmas.EDM, BATCH, 0.2);
      Var noised = noise.add(x, sigma);
      return new Seen(
          doubles(x),
          doubles(nets.denoise(Method.TEACHER, noised, sigma, labels)),
          doubles(nets.denoise(Method.CRITIC, noised, sigma, labels)),
          means(doubles(nets.encode(Method.CRITIC, noised, sigma, labels)), 8));
    });
  }

  private static double[] means(double[] values, int group) {
    double[] means = new double[values.length / group];
    for (int i = 0; i < values.length; i++) {
      means[i / group] += values[i] / group;
    }
    return means;
  }

  @Test
  void levelsReachFromTheSmallestToTmax() {
    Noise noise = new Noise(1, 0, 0);
    float[] levels = noise.places(KarrasSigmas.EDM, 4000, 0.2);

    double least = 80;
    double most = 0;
    for (float level : levels) {
      least = Math.min(least, level);
      most = Math.max(most, level);
    }
    assertThat(least).isBetween(0.002, 0.0021);
    assertThat(most).as("tmax 800 of 1000").isBetween(24.2, 24.4);
  }

  @Test
  void theStudentsLossIsTheFormulas() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.CRITIC, 0.05)) {
      Seen seen = seen(stage);
      double[] weights = seen.weights();

      Outcome outcome = stage.phase(1);

      double divergence = seen.divergence(weights);
      assertThat(outcome.parts().get("divergence"))
          .isCloseTo(divergence, within(1e-4 * Math.abs(divergence)));
      assertThat(outcome.parts().get("gan"))
          .isCloseTo(seen.deception(weights), within(1e-5 * seen.deception(weights)));
      assertThat(outcome.total())
          .isCloseTo(seen.total(weights), within(1e-4 * Math.abs(seen.total(weights))));
    }
  }

  /// Detaching teacher or critic is the usual mistake; it changes this slope by far more than it
  /// may differ.
  @Test
  void gradientsFlowThroughTeacherAndCritic() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.CRITIC, 0.05)) {
      double[] weights = seen(stage).weights();
      float[] gradient = stage.phase(1).gradients().get(Method.STUDENT);

      double slope =
          stage.slope(Method.STUDENT, unit(gradient), 3e-3, () -> seen(stage).total(weights));

      assertThat(slope).isCloseTo(norm(gradient), within(0.02 * norm(gradient)));
    }
  }

  /// The two ways back through the networks cancel but for the order in which float32 sums them.
  @Test
  void nothingMovesTheStudentWhenTheCriticIsTheTeacher() {
    try (Stage same = new Stage(recipe("sid.gan=0"));
        Stage moved = new Stage(recipe("sid.gan=0")).perturbed(Method.CRITIC, 0.05)) {
      Outcome outcome = same.phase(1);

      assertThat(outcome.total()).isZero();
      assertThat(norm(outcome.gradients().get(Method.STUDENT)))
          .isLessThan(1e-5 * norm(moved.phase(1).gradients().get(Method.STUDENT)));
    }
  }

  @Test
  void theDiscriminatorSeesRealAndFakeUnderTheSameNoise() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.CRITIC, 0.05)) {
      double expected =
          stage.with(nets -> {
            Noise noise = stage.noise(0);
            int[] labels = stage.batch().labels(BATCH);
            Var latents = noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 2.5);
            float[] start = new float[BATCH];
            Arrays.fill(start, 2.5f);
            Var fake = nets.denoise(Method.STUDENT, latents, start, labels);
            float[] sigma = noise.logNormal(BATCH, -1.2, 1.2);
            var key = noise.key(Purpose.NOISE);
            Var real = nets.images(stage.batch(), BATCH);
            double[] fakes =
                means(
                    doubles(nets.encode(Method.CRITIC, Noise.add(fake, sigma, key), sigma, labels)),
                    8);
            double[] reals =
                means(
                    doubles(nets.encode(Method.CRITIC, Noise.add(real, sigma, key), sigma, labels)),
                    8);
            double sum = 0;
            for (int i = 0; i < fakes.length; i++) {
              sum += Math.log1p(Math.exp(fakes[i])) + Math.log1p(Math.exp(-reals[i]));
            }
            return sum / fakes.length;
          });

      assertThat(stage.phase(0).parts().get("discriminator"))
          .isCloseTo(expected, within(1e-5 * expected));
    }
  }

  @Test
  void theStudentWaitsForItsCritic() {
    Taken waiting = take("sid.critic_alone=3");
    Taken divergenceAlone = take("sid.gan_from=3");

    assertThat(waiting.after().get(Method.STUDENT)).isEqualTo(waiting.before().get(Method.STUDENT));
    assertThat(waiting.losses()).containsKey("critic/discriminator");
    assertThat(divergenceAlone.losses()).doesNotContainKey("student/gan");
  }

  /// Every step of a student of several is matched: which one is drawn anew at every update.
  @Test
  void aStudentOfSeveralStepsIsMatchedAtEach() {
    assertThat(Generator.levels(2.5, 4))
        .hasSize(4)
        .isSortedAccordingTo((a, b) -> Double.compare(b, a));
    Taken several = take("sid.steps=3");

    assertThat(several.losses().keySet()).isEqualTo(golden().keySet());
    assertThat(several.losses()).isNotEqualTo(take().losses());
  }

  private static double[] minus(double[] a, double factor, double[] b) {
    double[] difference = new double[a.length];
    for (int i = 0; i < a.length; i++) {
      difference[i] = a[i] - factor * b[i];
    }
    return difference;
  }

  /// The critic's images in the divergence, from its answers with and without the class.
  private interface Guided {
    double[] of(double[] told, double[] untold);
  }

  private void guidedDivergenceIs(Guided critic, String... sets) {
    try (Stage stage = new Stage(recipe(sets)).perturbed(Method.CRITIC, 0.05)) {
      Seen seen =
          stage.with(nets -> {
            Noise noise = stage.noise(1);
            int[] labels = stage.batch().labels(BATCH);
            Var latents = noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 2.5);
            float[] start = new float[BATCH];
            Arrays.fill(start, 2.5f);
            Var x = nets.denoise(Method.STUDENT, latents, start, labels);
            float[] sigma = noise.places(KarrasSigmas.EDM, BATCH, 0.2);
            Var noised = noise.add(x, sigma);
            double[] told = doubles(nets.denoise(Method.CRITIC, noised, sigma, labels));
            double[] untold = doubles(nets.denoise(Method.CRITIC, noised, sigma, null));
            return new Seen(
                doubles(x),
                doubles(nets.denoise(Method.TEACHER, noised, sigma, labels)),
                critic.of(told, untold),
                new double[0]);
          });
      double expected = seen.divergence(seen.weights());

      assertThat(stage.phase(1).parts().get("divergence"))
          .isCloseTo(expected, within(1e-4 * Math.abs(expected)));
    }
  }

  @Test
  void zeroCfgAsksTheCriticWithoutTheClass() {
    guidedDivergenceIs((told, untold) -> untold, "sid.gan=0", "sid.guidance=zero_cfg");
  }

  @Test
  void antiCfgGuidesTheCriticAway() {
    guidedDivergenceIs(
        (told, untold) -> minus(minus(untold, 0.7, told), -0.7, untold),
        "sid.gan=0",
        "sid.guidance=anti_cfg",
        "sid.strength=0.7");
  }

  /// Under Zero-CFG the critic learns without the class, too: what it is told of it moves nothing.
  @Test
  void theCriticOfZeroCfgNeverHearsTheClass() {
    try (Stage stage = new Stage(recipe("sid.guidance=zero_cfg"))) {
      Noise noise = stage.noise(0);
      int[] labels = noise.dropped(stage.batch().labels(), 1);
      assertThat(labels).containsOnly(Denoiser.NO_CLASS);
      float[] gradient = stage.phase(0).gradients().get(Method.CRITIC);
      long from = stage.weights(Method.CRITIC).get("model.map_label.weight").offset();
      long count = stage.weights(Method.CRITIC).get("model.map_label.weight").shape().elements();

      assertThat(norm(gradient)).isPositive();
      assertThat(Arrays.copyOfRange(gradient, (int) from, (int) (from + count))).containsOnly(0f);
    }
  }

  @Test
  void withoutTheMixtureTheLastStepAloneIsMatched() {
    try (Stage stage = new Stage(recipe("sid.steps=2", "sid.mixture=false", "sid.gan=0"))) {
      double[] expected =
          stage.with(nets -> {
            Noise noise = stage.noise(1);
            int[] labels = stage.batch().labels(BATCH);
            List<Double> levels = Generator.levels(2.5, 2);
            Var latents = noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 2.5);
            float[] first = new float[BATCH];
            Arrays.fill(first, 2.5f);
            float[] second = new float[BATCH];
            Arrays.fill(second, levels.get(1).floatValue());
            Var x = nets.denoise(Method.STUDENT, latents, first, labels);
            return doubles(nets.denoise(Method.STUDENT, noise.add(x, second), second, labels));
          });
      double[] made =
          stage.with(nets -> {
            Generator generator = new Generator(Generator.levels(2.5, 2), true);
            Var real = nets.images(stage.batch(), BATCH);
            return doubles(
                generator.images(nets, stage.batch().labels(BATCH), real, 1, stage.noise(1)));
          });

      assertThat(made).isEqualTo(expected);
    }
    assertThat(take("sid.steps=2", "sid.mixture=false").losses())
        .isNotEqualTo(take("sid.steps=2").losses());
  }
}
