package io.retort.distill;

import static io.retort.distill.Stage.doubles;
import static io.retort.distill.Stage.norm;
import static io.retort.distill.Stage.unit;
import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodStepTest;
import io.retort.data.Batch;
import io.retort.diffusion.KarrasSigmas;
import io.retort.distill.Stage.Outcome;
import io.retort.grad.Var;
import io.retort.net.ConvDiscriminator;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;

/// ADM and its pre-training: losses against float64 ones computed from the logits and from denoised
/// images, gradients against finite differences; a critic that is the teacher teaches nothing.
class AdmTest implements MethodStepTest {
  private static final int BATCH = 4;

  /// Phases of a run with pre-training.
  private static final int PRETRAINING = 0;

  private static final int STUDENT = 2;
  private static final int HEADS = 3;

  @Override
  public MethodKind<?> kind() {
    return Adm.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "batch=" + BATCH,
        "pretraining=1",
        "pairs=10",
        "pair_steps=2",
        "pixel_depth=2",
        "strides=8",
        "gan.width=8",
        "gan.optimizer.warmup=0",
        "gan.optimizer.cooldown=0",
        "gan.optimizer.eps=0.01",
        "student.lr=2e-4",
        "student.warmup=0",
        "student.cooldown=0",
        "student.eps=0.01",
        "critic.warmup=0",
        "critic.cooldown=0",
        "critic.eps=0.01");
  }

  @Override
  public SequencedMap<String, Double> golden() {
    return MethodStepTest.golden(
        entry("pretraining/latent", 0.06814108),
        entry("pretraining/pixel", 0.7790384),
        entry("pretraining/student_gradient_norm", 0.7992293),
        entry("pretraining_judges/discriminator", 1.614483),
        entry("pretraining_judges/pixel_discriminator", 4.811019),
        entry("pretraining_judges/pretraining_heads_gradient_norm", 6.305299),
        entry("pretraining_judges/pixels_gradient_norm", 9.806633),
        entry("student/gan", 0.4139768),
        entry("student/student_gradient_norm", 1.386699),
        entry("heads/discriminator", 2.0001),
        entry("heads/heads_gradient_norm", 0.01053113),
        entry("critic/denoising", 0.1880629),
        entry("critic/critic_gradient_norm", 0.6579063));
  }

  @Override
  public int stepsOnCuda() {
    return 2;
  }

  private static double minusMean(List<Var> heads) {
    return heads.stream()
        .mapToDouble(head -> -Arrays.stream(doubles(head)).average().orElseThrow())
        .average()
        .orElseThrow();
  }

  private static Var images(Stage stage, Nets nets, Noise noise) {
    float[] top = new float[BATCH];
    Arrays.fill(top, 80);
    Var z = noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 80);
    return nets.denoise(Method.STUDENT, z, top, stage.batch().labels());
  }

  /// `-mean D(x_f)` with the Euler step in float64.
  private static double matching(Stage stage) {
    return stage.with(nets -> {
      Noise noise = stage.noise(STUDENT);
      int[] labels = stage.batch().labels();
      Var x = images(stage, nets, noise);
      PhiloxKey key = noise.key(Purpose.TIME);
      float[] from = new float[BATCH];
      float[] to = new float[BATCH];
      for (int i = 0; i < BATCH; i++) {
        double place = 0.875 * Philox.uniform(key, i);
        from[i] = (float) KarrasSigmas.EDM.at(place);
        to[i] = (float) KarrasSigmas.EDM.at(place + 0.125);
      }
      Var noised = noise.add(x, from);
      double[] at = doubles(noised);
      double[] denoised = doubles(nets.denoise(Method.CRITIC, noised, from, labels));
      float[] arrived = new float[at.length];
      for (int i = 0; i < at.length; i++) {
        int sample = i / (at.length / BATCH);
        double slope = (at[i] - denoised[i]) / from[sample];
        arrived[i] = (float) (at[i] + ((double) to[sample] - from[sample]) * slope);
      }
      Var there = nets.tape().constant(nets.images(Method.STUDENT, BATCH), arrived);
      return minusMean(nets.discriminate(Adm.HEADS, new int[2], Method.TEACHER, there, to, labels));
    });
  }

  @Test
  void theStudentsLossIsTheFormulas() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.CRITIC, 0.05)) {
      double expected = matching(stage);

      assertThat(stage.phase(STUDENT).parts().get("gan"))
          .isCloseTo(expected, within(1e-4 * Math.abs(expected)));
    }
  }

  /// Through the heads, the teacher's features, the critic and the student's network.
  @Test
  void theStudentFollowsTheHeadsThroughTheCritic() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.CRITIC, 0.05)) {
      float[] gradient = stage.phase(STUDENT).gradients().get(Method.STUDENT);

      double slope = stage.slope(Method.STUDENT, unit(gradient), 1e-2, () -> matching(stage));

      assertThat(slope).isCloseTo(norm(gradient), within(0.02 * norm(gradient)));
    }
  }

  @Test
  void headsLearnNothingWhenTheCriticIsTheTeacher() {
    try (Stage same = new Stage(recipe());
        Stage other = new Stage(recipe()).perturbed(Method.CRITIC, 0.05)) {
      Outcome outcome = same.phase(HEADS);

      assertThat(outcome.total()).isCloseTo(2, within(1e-5));
      double learnt = norm(other.phase(HEADS).gradients().get(Adm.HEADS));
      assertThat(norm(outcome.gradients().get(Adm.HEADS))).isLessThan(1e-4 * learnt);
    }
  }

  private static double pretraining(Stage stage) {
    return stage.with(nets -> {
      Noise noise = stage.noise(PRETRAINING);
      Batch.Pairs pairs = stage.batch().pairs();
      Shape shape = nets.images(Method.STUDENT, BATCH);
      PhiloxKey key = noise.key(Purpose.TIME);
      float[] level = new float[BATCH];
      float[] start = new float[pairs.images().length];
      for (int i = 0; i < BATCH; i++) {
        level[i] = (float) KarrasSigmas.EDM.at(Math.pow(Philox.uniform(key, i), 3));
      }
      for (int i = 0; i < start.length; i++) {
        start[i] = pairs.images()[i] + level[i / (start.length / BATCH)] * pairs.latents()[i];
      }
      int[] labels = pairs.labels();
      Var x = nets.denoise(Method.STUDENT, nets.tape().constant(shape, start), level, labels);
      float[] sigma = noise.bins(KarrasSigmas.EDM, BATCH, 1000, 0, 1);
      List<Var> latent =
          nets.discriminate(
              Adm.PRETRAINING_HEADS,
              new int[2],
              Method.TEACHER,
              noise.add(x, sigma),
              sigma,
              labels);
      ConvDiscriminator pixels = ((Adm) stage.method()).pixelNet();
      List<Var> judged =
          pixels.apply(nets.tape(), nets.parameters(Adm.PIXELS), x, nets.oneHot(labels, 3));
      return 0.85 * minusMean(latent) + 0.15 * minusMean(judged);
    });
  }

  @Test
  void thePretrainingsLossIsTheFormulas() {
    try (Stage stage = new Stage(recipe())) {
      double expected = pretraining(stage);
      Outcome outcome = stage.phase(PRETRAINING);

      assertThat(outcome.total()).isCloseTo(expected, within(1e-4 * Math.abs(expected)));
      float[] gradient = outcome.gradients().get(Method.STUDENT);
      double slope = stage.slope(Method.STUDENT, unit(gradient), 1e-2, () -> pretraining(stage));
      assertThat(slope).isCloseTo(norm(gradient), within(0.02 * norm(gradient)));
    }
  }

  @Test
  void withoutAGanItIsDmd() {
    try (Stage stage = new Stage(recipe("adm.pretraining=0", "adm.matching=score_difference"))) {
      assertThat(stage.method().roles().stream().map(Method.Role::name))
          .containsExactly(Method.TEACHER, Method.STUDENT, Method.CRITIC);
      Outcome outcome = stage.phase(0);

      assertThat(outcome.total()).isZero();
      assertThat(outcome.gradients().get(Method.STUDENT)).containsOnly(0f);
    }
  }

  @Test
  void everyFormTakesItsSteps() {
    List<Object> losses = new ArrayList<>();
    for (GanForm form : GanForm.values()) {
      String name = form.name().toLowerCase(Locale.ROOT);
      losses.add(take("adm.gan.form=" + name, "adm.gan.penalty=1").losses());
    }
    assertThat(losses).doesNotHaveDuplicates();
  }

  @Test
  void imagesAreLargeEnough() {
    assertThatThrownBy(() -> take("adm.pixel_depth=8"))
        .hasMessageContaining("pixel_depth must leave a pixel of images of side 8");
  }
}
