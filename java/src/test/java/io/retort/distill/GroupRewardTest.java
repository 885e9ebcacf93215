package io.retort.distill;

import static io.retort.distill.Stage.doubles;
import static io.retort.distill.Stage.norm;
import static io.retort.distill.Stage.unit;
import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodStepTest;
import io.retort.MethodSteps;
import io.retort.diffusion.KarrasSigmas;
import io.retort.distill.Stage.Outcome;
import io.retort.grad.Var;
import io.retort.recipe.Recipe;
import java.util.List;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;

/// Distribution matching in groups: its loss against a float64 one; groups of one are DMD.
class GroupRewardTest implements MethodStepTest {
  private static final int BATCH = 4;

  @Override
  public MethodKind<?> kind() {
    return GroupReward.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "group=2",
        "batch=" + BATCH,
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
        entry("student/score_difference", 1.70334),
        entry("student/student_gradient_norm", 0.2636178),
        entry("critic/denoising", 0.6963623),
        entry("critic/critic_gradient_norm", 1.644016));
  }

  @Test
  void theStudentsLossIsTheFormulas() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.CRITIC, 0.05)) {
      double expected =
          stage.with(nets -> {
            Noise noise = stage.noise(0);
            int[] given = stage.batch().labels();
            int[] labels = {given[0], given[0], given[2], given[2]};
            float[] top = {80, 80, 80, 80};
            Var z = noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 80);
            Var x = nets.denoise(Method.STUDENT, z, top, labels);
            float[] drawn = noise.bins(KarrasSigmas.EDM, BATCH, 1000, 0.02, 0.98);
            float[] sigma = {drawn[0], drawn[0], drawn[2], drawn[2]};
            Var noised = noise.add(x, sigma);
            double[] images = doubles(x);
            double[] teacher = doubles(nets.denoise(Method.TEACHER, noised, sigma, labels));
            double[] critic = doubles(nets.denoise(Method.CRITIC, noised, sigma, labels));
            int half = images.length / 2;
            double sum = 0;
            for (int group = 0; group < 2; group++) {
              double far = 0;
              double squares = 0;
              for (int i = group * half; i < (group + 1) * half; i++) {
                far += Math.abs(images[i] - teacher[i]) / half;
                squares += Math.pow(critic[i] - teacher[i], 2);
              }
              sum += squares / (far * far) / 2 / images.length;
            }
            return sum;
          });

      assertThat(stage.phase(0).parts().get("score_difference"))
          .isCloseTo(expected, within(1e-4 * expected));
    }
  }

  @Test
  void groupsOfOneAreDmd() {
    Recipe dmd =
        MethodSteps.recipe(
            Dmd2.KIND,
            List.of("batch=" + BATCH, "real_batch=" + BATCH, "embedding.weight=0", "gan=0"));
    try (Stage grouped = new Stage(recipe("gndm.group=1")).perturbed(Method.CRITIC, 0.05);
        Stage plain = new Stage(dmd).perturbed(Method.CRITIC, 0.05)) {
      Outcome ours = grouped.phase(0);
      Outcome theirs = plain.phase(0);

      assertThat(ours.total()).isCloseTo(theirs.total(), within(1e-4 * theirs.total()));
      float[] gradient = theirs.gradients().get(Method.STUDENT);
      float[] difference = ours.gradients().get(Method.STUDENT).clone();
      for (int i = 0; i < difference.length; i++) {
        difference[i] -= gradient[i];
      }
      assertThat(norm(difference)).isLessThan(1e-4 * norm(gradient));
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

  /// Rewards have gradients: in deviations of their group.
  @Test
  void rewardsMoveTheStudent() {
    try (Stage stage = new Stage(recipe("gndm.reward=0.5", "gndm.rewards.confidence=0"))) {
      Outcome outcome = stage.phase(0);
      double before = mixture(stage);
      float[] gradient = outcome.gradients().get(Method.STUDENT);

      assertThat(outcome.parts().get("score_difference")).isZero();
      assertThat(outcome.total()).isCloseTo(-0.5 * before, within(1e-4 * before));
      assertThat(outcome.parts().get("sharpness")).isPositive();
      double[] fixed = deviations(stage);
      double slope =
          stage.slope(
              Method.STUDENT, unit(gradient), 1e-3, () -> -0.5 * weighed(sharpness(stage), fixed));
      assertThat(slope).isCloseTo(norm(gradient), within(0.02 * norm(gradient)));
    }
  }

  private static double[] sharpness(Stage stage) {
    return stage.with(nets -> {
      Noise noise = stage.noise(0);
      int[] given = stage.batch().labels();
      int[] labels = {given[0], given[0], given[2], given[2]};
      float[] top = {80, 80, 80, 80};
      Var z = noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 80);
      return doubles(Rewards.sharpness(nets.denoise(Method.STUDENT, z, top, labels)));
    });
  }

  private static double[] deviations(Stage stage) {
    double[] r = sharpness(stage);
    double first = Math.sqrt(Math.pow((r[0] - r[1]) / 2, 2) + 1e-4);
    double second = Math.sqrt(Math.pow((r[2] - r[3]) / 2, 2) + 1e-4);
    return new double[] {first, first, second, second};
  }

  private static double weighed(double[] rewards, double[] deviations) {
    double sum = 0;
    for (int i = 0; i < BATCH; i++) {
      sum += rewards[i] / deviations[i] / BATCH;
    }
    return sum;
  }

  private static double mixture(Stage stage) {
    return weighed(sharpness(stage), deviations(stage));
  }

  /// A student that has not moved learns the same from the same noise again.
  @Test
  void usingABatchAgainBeginsAsTheFirstUse() {
    try (Stage stage =
        new Stage(recipe("gndm.reuses=1", "gndm.reward=0.5")).perturbed(Method.CRITIC, 0.05)) {
      Outcome first = stage.phase(0);
      Outcome again = stage.phase(1, 0);

      assertThat(again.parts()).isEqualTo(first.parts());
      assertThat(again.gradients().get(Method.STUDENT))
          .isEqualTo(first.gradients().get(Method.STUDENT));
    }
  }

  @Test
  void imagesThatHaveBecomeUnlikelyWeighLess() {
    try (Stage stage = new Stage(recipe("gndm.spread=0.5", "gndm.clip=0.3"))) {
      stage.with(nets -> {
        GroupReward method = (GroupReward) stage.method();
        Var before = nets.images(stage.batch(), BATCH);
        double[] same = doubles(method.ratio(before, before));
        double[] near = doubles(method.ratio(before.affine(1, 0.2), before));
        double[] far = doubles(method.ratio(before.affine(1, 2), before));
        for (int i = 0; i < BATCH; i++) {
          assertThat(same[i]).isEqualTo(1);
          assertThat(near[i]).isCloseTo(Math.exp(-0.04 / 0.5), within(1e-5));
          assertThat(far[i]).isCloseTo(0.7, within(1e-6));
        }
        return null;
      });
    }
  }

  /// Where every image has become impossible nothing is learnt from it, not from rewards either.
  @Test
  void rewardsOfUnlikelyImagesWeighLessToo() {
    assertThat(
            take(
                    "gndm.reuses=1",
                    "gndm.reward=0.5",
                    "gndm.spread=1e-9",
                    "gndm.clip=1",
                    "gndm.student.lr=0.01")
                .losses())
        .containsEntry("reuse1/student_gradient_norm", 0.0);
  }

  @Test
  void rewardsAndReuseTakeTheirSteps() {
    assertThat(take("gndm.reuses=2", "gndm.reward=0.1").losses())
        .containsKeys(
            "student/confidence",
            "student/sharpness",
            "reuse1/reward",
            "reuse2/score_difference",
            "classifier/cross_entropy");
  }

  @Test
  void groupsFillTheBatch() {
    assertThatThrownBy(() -> recipe("gndm.batch=6", "gndm.group=4"))
        .hasMessageContaining("batch must be a multiple of group, got 6 and 4");
  }
}
