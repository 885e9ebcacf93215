package io.retort.distill;

import static io.retort.distill.Stage.doubles;
import static io.retort.distill.Stage.norm;
import static io.retort.distill.Stage.unit;
import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodStepTest;
import io.retort.diffusion.KarrasSigmas;
import io.retort.distill.Method.Blend;
import io.retort.distill.Stage.Outcome;
import io.retort.grad.Var;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import java.util.Arrays;
import java.util.List;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;

/// Flash-DMD: both losses against float64 ones, gradients against finite differences, who follows
/// whom.
class FlashDmdTest implements MethodStepTest {
  private static final int BATCH = 4;

  /// Phases.
  private static final int STUDENT = 0;

  private static final int PREFERENCE = 5;

  @Override
  public MethodKind<?> kind() {
    return FlashDmd.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "batch=" + BATCH,
        "critic_steps=1",
        "steps=1",
        "gan=0.5",
        "threshold=0.4",
        "keep=0.9",
        "joint_from=1",
        "joint_every=1",
        "beta=20",
        "rewards.width=4",
        "rewards.classifier.eps=0.01",
        "heads.width=8",
        "heads.optimizer.warmup=0",
        "heads.optimizer.cooldown=0",
        "heads.optimizer.eps=0.01",
        "student.warmup=0",
        "student.cooldown=0",
        "student.lr=3e-4",
        "student.eps=0.01",
        "critic.warmup=0",
        "critic.cooldown=0",
        "critic.eps=0.01",
        "critic.lr=0.01");
  }

  @Override
  public SequencedMap<String, Double> golden() {
    return MethodStepTest.golden(
        entry("student/distribution_matching", 0.0),
        entry("student/gan", -0.07775795),
        entry("student/student_gradient_norm", 1.051332),
        entry("critic/denoising", 0.2274579),
        entry("critic/critic_gradient_norm", 0.7319171),
        entry("heads/discriminator", 1.950402),
        entry("heads/heads_gradient_norm", 7.164149),
        entry("classifier/cross_entropy", 1.085664),
        entry("classifier/classifier_gradient_norm", 0.2509231),
        entry("joint_student/distribution_matching", 4.6178),
        entry("joint_student/gan", 0.1941814),
        entry("joint_student/student_gradient_norm", 1.595438),
        entry("preference/preference", 0.6934639),
        entry("preference/student_gradient_norm", 1.071946));
  }

  @Override
  public int stepsOnCuda() {
    return 2;
  }

  private static Var images(Nets nets, Noise noise, int[] labels) {
    float[] top = new float[BATCH];
    Arrays.fill(top, 80);
    Var z = noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 80);
    return nets.denoise(Method.STUDENT, z, top, labels);
  }

  /// What the student's images are judged by.
  private record Seen(double[] x, double[] direction, double deception) {
    double matching() {
      return Arrays.stream(direction).map(g -> g * g / 2 / direction.length).sum();
    }
  }

  private static Seen seen(Stage stage) {
    return stage.with(nets -> {
      Noise noise = stage.noise(STUDENT);
      int[] labels = stage.batch().labels();
      Var x = images(nets, noise, labels);
      float[] much = noise.bins(KarrasSigmas.EDM, BATCH, 1000, 0.4, 0.98);
      Var noised = noise.add(x, much);
      double[] image = doubles(x);
      double[] teacher = doubles(nets.denoise(Method.TEACHER, noised, much, labels));
      double[] critic = doubles(nets.denoise(Method.CRITIC, noised, much, labels));
      int pixels = image.length / BATCH;
      double[] direction = new double[image.length];
      for (int n = 0; n < BATCH; n++) {
        double far = 0;
        for (int i = n * pixels; i < (n + 1) * pixels; i++) {
          far += Math.abs(image[i] - teacher[i]) / pixels;
        }
        for (int i = n * pixels; i < (n + 1) * pixels; i++) {
          direction[i] = (critic[i] - teacher[i]) / far;
        }
      }
      float[] little = noise.bins(KarrasSigmas.EDM, BATCH, 1000, 0, 0.4);
      for (int n = 0; n < BATCH; n++) {
        assertThat(little[n]).isLessThanOrEqualTo((float) KarrasSigmas.EDM.bin(400, 1000));
        assertThat(much[n]).isGreaterThanOrEqualTo((float) KarrasSigmas.EDM.bin(400, 1000));
      }
      double deception =
          nets
              .discriminate(
                  FlashDmd.HEADS, new int[2], Method.TEACHER, noise.add(x, little), little, labels)
              .stream()
              .mapToDouble(head -> -Arrays.stream(doubles(head)).average().orElseThrow())
              .average()
              .orElseThrow();
      return new Seen(image, direction, deception);
    });
  }

  @Test
  void theStudentsLossIsTheFormulas() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.CRITIC, 0.05)) {
      Seen seen = seen(stage);
      Outcome outcome = stage.phase(STUDENT);

      assertThat(outcome.parts().get("distribution_matching"))
          .isCloseTo(seen.matching(), within(1e-4 * seen.matching()));
      assertThat(outcome.parts().get("gan"))
          .isCloseTo(seen.deception, within(1e-4 * Math.abs(seen.deception)));
      assertThat(outcome.total()).isCloseTo(seen.matching() + 0.5 * seen.deception, within(1e-4));
    }
  }

  @Test
  void theStudentFollowsBothLosses() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.CRITIC, 0.05)) {
      double[] g = seen(stage).direction;
      float[] gradient = stage.phase(STUDENT).gradients().get(Method.STUDENT);

      double slope =
          stage.slope(
              Method.STUDENT,
              unit(gradient),
              1e-2,
              () -> {
                Seen moved = seen(stage);
                double sum = 0.5 * moved.deception;
                for (int i = 0; i < g.length; i++) {
                  sum += g[i] * moved.x[i] / g.length;
                }
                return sum;
              });

      assertThat(slope).isCloseTo(norm(gradient), within(0.02 * norm(gradient)));
    }
  }

  private static int[] pairedLabels(Stage stage) {
    int[] given = stage.batch().labels();
    return new int[] {given[0], given[1], given[0], given[1]};
  }

  private static double[] rewards(Nets nets, Var x, int[] labels) {
    double[] logits =
        doubles(
            nets.classifier(Rewards.CLASSIFIER)
                .apply(nets.tape(), nets.parameters(Rewards.CLASSIFIER), x));
    double[] image = doubles(x);
    double[] sure = new double[BATCH];
    double[] sharp = new double[BATCH];
    for (int n = 0; n < BATCH; n++) {
      double all = 0;
      for (int c = 0; c < 3; c++) {
        all += Math.exp(logits[3 * n + c]);
      }
      sure[n] = Math.exp(logits[3 * n + labels[n]]) / all;
      for (int i = 1; i < 7; i++) {
        for (int j = 1; j < 7; j++) {
          int at = 64 * n + 8 * i + j;
          sharp[n] +=
              Math.abs(
                      4 * image[at] - image[at - 1] - image[at + 1] - image[at - 8] - image[at + 8])
                  / 36;
        }
      }
    }
    double[] mixed = new double[BATCH];
    for (int n = 0; n < BATCH; n++) {
      mixed[n] = sure[n] / deviation(sure) + sharp[n] / deviation(sharp);
    }
    return mixed;
  }

  private static double deviation(double[] x) {
    double mean = Arrays.stream(x).average().orElseThrow();
    double variance = Arrays.stream(x).map(v -> (v - mean) * (v - mean)).average().orElseThrow();
    return Math.sqrt(variance + 1e-4);
  }

  /// Images that are ranked, made before anything moves, and the noise they are judged under.
  private record Ranked(float[] x, PhiloxKey key, double[] rewards) {}

  private static Ranked ranked(Stage stage) {
    return stage.with(nets -> {
      Noise noise = stage.noise(PREFERENCE);
      int[] labels = pairedLabels(stage);
      Var x = images(nets, noise, labels);
      noise.key(Purpose.TIME);
      return new Ranked(x.value().floats(), noise.key(Purpose.NOISE), rewards(nets, x, labels));
    });
  }

  private static double preference(Stage stage, Ranked ranked) {
    return stage.with(nets -> {
      int[] labels = pairedLabels(stage);
      float[] top = new float[BATCH];
      Arrays.fill(top, 80);
      Var x = nets.tape().constant(nets.images(Method.STUDENT, BATCH), ranked.x);
      Var noised = Noise.add(x, top, ranked.key);
      double[] ours = doubles(nets.denoise(Method.STUDENT, noised, top, labels));
      double[] before = doubles(nets.denoise(FlashDmd.REFERENCE, noised, top, labels));
      double[] gain = new double[BATCH];
      for (int i = 0; i < ours.length; i++) {
        double better = Math.pow(before[i] - ranked.x[i], 2) - Math.pow(ours[i] - ranked.x[i], 2);
        gain[i / 64] += (1 / 6400.0 + 4) * better / 64;
      }
      double sum = 0;
      for (int pair = 0; pair < 2; pair++) {
        double sign = Math.signum(ranked.rewards[pair] - ranked.rewards[2 + pair]);
        double margin = 20 * sign * (gain[pair] - gain[2 + pair]);
        sum += Math.log1p(Math.exp(-margin)) / 2;
      }
      return sum;
    });
  }

  @Test
  void thePreferencesLossIsTheFormulas() {
    try (Stage stage = new Stage(recipe()).perturbed(FlashDmd.REFERENCE, 0.02)) {
      double expected = preference(stage, ranked(stage));

      assertThat(stage.phase(PREFERENCE).total()).isCloseTo(expected, within(1e-4 * expected));
      assertThat(Math.abs(expected - Math.log(2))).isGreaterThan(1e-3);
    }
  }

  /// With the ranked images held.
  @Test
  void theStudentFollowsPreferences() {
    try (Stage stage = new Stage(recipe()).perturbed(FlashDmd.REFERENCE, 0.02)) {
      Ranked ranked = ranked(stage);
      float[] gradient = stage.phase(PREFERENCE).gradients().get(Method.STUDENT);

      double slope =
          stage.slope(Method.STUDENT, unit(gradient), 1e-3, () -> preference(stage, ranked));

      assertThat(slope).isCloseTo(norm(gradient), within(0.02 * norm(gradient)));
    }
  }

  @Test
  void nothingIsPreferredByTheReferenceItself() {
    try (Stage stage = new Stage(recipe())) {
      assertThat(stage.phase(PREFERENCE).total()).isCloseTo(Math.log(2), within(1e-6));
    }
  }

  @Test
  void nothingMatchesWhenTheCriticIsTheTeacher() {
    try (Stage stage = new Stage(recipe("flash_dmd.gan=0"))) {
      Outcome outcome = stage.phase(STUDENT);

      assertThat(outcome.total()).isZero();
      assertThat(outcome.gradients().get(Method.STUDENT)).containsOnly(0f);
    }
  }

  @Test
  void theCriticFollowsTheStudentAndTheReferenceIsTheOneOfThatStep() {
    try (Stage stage = new Stage(recipe("flash_dmd.joint_from=4", "flash_dmd.critic_steps=2"))) {
      Blend follow = new Blend(Method.CRITIC, Method.STUDENT, 0.9);
      assertThat(stage.method().blends(0)).containsExactly(follow);
      assertThat(stage.method().blends(1)).isEmpty();
      assertThat(stage.method().blends(3))
          .containsExactly(new Blend(FlashDmd.REFERENCE, Method.STUDENT, 0));
      assertThat(stage.method().blends(5)).containsExactly(follow);
    }
    try (Stage stage = new Stage(recipe("flash_dmd.keep=1", "flash_dmd.beta=0"))) {
      assertThat(stage.method().blends(0)).isEmpty();
      assertThat(stage.method().roles()).hasSize(4);
    }
  }

  @Test
  void aStudentOfTwoStepsAndOtherForms() {
    assertThat(take("flash_dmd.steps=2", "flash_dmd.heads.form=relativistic").losses())
        .containsKeys("joint_student/gan", "preference/preference", "classifier/cross_entropy");
  }

  @Test
  void preferencesNeedAReward() {
    assertThatThrownBy(
            () -> recipe("flash_dmd.rewards.confidence=0", "flash_dmd.rewards.sharpness=0"))
        .hasMessageContaining("beta must be 0, or one of rewards.confidence");
  }
}
