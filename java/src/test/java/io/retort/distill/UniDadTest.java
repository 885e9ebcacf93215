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
import io.retort.backend.CpuBackend;
import io.retort.data.Batch;
import io.retort.diffusion.KarrasSigmas;
import io.retort.distill.Stage.Outcome;
import io.retort.grad.Var;
import io.retort.op.Backend;
import io.retort.recipe.Recipe;
import io.retort.train.Trainer;
import java.util.Arrays;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.LongFunction;
import org.junit.jupiter.api.Test;

/// Uni-DAD: the student's loss against a float64 one, its gradient through all calls against finite
/// differences, which images are seen.
class UniDadTest implements MethodStepTest {
  private static final int BATCH = 4;

  @Override
  public MethodKind<?> kind() {
    return UniDad.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "batch=" + BATCH,
        "shots=6",
        "critic_steps=2",
        "steps=2",
        "gan=0.5",
        "heads.width=8",
        "heads.optimizer.warmup=0",
        "heads.optimizer.cooldown=0",
        "heads.optimizer.eps=0.01",
        "student.warmup=0",
        "student.cooldown=0",
        "student.eps=0.01",
        "critic.warmup=0",
        "critic.cooldown=0",
        "critic.eps=0.01",
        "critic.lr=0.01",
        "target_teacher.warmup=0",
        "target_teacher.cooldown=0",
        "target_teacher.eps=0.01",
        "target_teacher.lr=0.01");
  }

  @Override
  public SequencedMap<String, Double> golden() {
    return MethodStepTest.golden(
        entry("student/source", 0.05312104),
        entry("student/target", 0.1631182),
        entry("student/gan", 0.6871228),
        entry("student/student_gradient_norm", 0.6256059),
        entry("target/denoising", 1.177475),
        entry("target/target_gradient_norm", 2.544934),
        entry("critic/denoising", 0.4642259),
        entry("critic/discriminator", 1.536683),
        entry("critic/critic_gradient_norm", 0.4852733),
        entry("critic/heads_gradient_norm", 0.1448092));
  }

  /// What the student's images are judged by.
  private record Seen(double[] x, double[] source, double[] target, double deception) {}

  private static Seen seen(Stage stage) {
    return stage.with(nets -> {
      Noise noise = stage.noise(0);
      int[] labels = stage.batch().labels();
      float[] level = new float[BATCH];
      Arrays.fill(level, 80);
      Var x =
          nets.denoise(
              Method.STUDENT,
              noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 80),
              level,
              labels);
      Arrays.fill(level, 0.5f);
      Var more = noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 0.5);
      x = nets.denoise(Method.STUDENT, x.add(more), level, labels);
      float[] sigma = noise.bins(KarrasSigmas.EDM, BATCH, 1000, 0.02, 0.98);
      Var noised = noise.add(x, sigma);
      double[] image = doubles(x);
      double[] critic = doubles(nets.denoise(Method.CRITIC, noised, sigma, labels));
      double[] source =
          direction(image, doubles(nets.denoise(Method.TEACHER, noised, sigma, labels)), critic);
      double[] target =
          direction(image, doubles(nets.denoise(UniDad.TARGET, noised, sigma, labels)), critic);
      float[] other = noise.bins(KarrasSigmas.EDM, BATCH, 1000, 0, 1);
      double deception =
          nets
              .discriminate(
                  UniDad.HEADS, new int[2], Method.CRITIC, noise.add(x, other), other, labels)
              .stream()
              .mapToDouble(head ->
                  Arrays.stream(doubles(head))
                      .map(l -> Math.log1p(Math.exp(-l)))
                      .average()
                      .orElseThrow())
              .average()
              .orElseThrow();
      return new Seen(image, source, target, deception);
    });
  }

  private static double[] direction(double[] x, double[] teacher, double[] critic) {
    double[] g = new double[x.length];
    int pixels = x.length / BATCH;
    for (int n = 0; n < BATCH; n++) {
      double far = 0;
      for (int i = n * pixels; i < (n + 1) * pixels; i++) {
        far += Math.abs(x[i] - teacher[i]) / pixels;
      }
      for (int i = n * pixels; i < (n + 1) * pixels; i++) {
        g[i] = (critic[i] - teacher[i]) / far;
      }
    }
    return g;
  }

  private static double half(double[] g) {
    return Arrays.stream(g).map(v -> v * v / 2 / g.length).sum();
  }

  private Stage apart() {
    return new Stage(recipe()).perturbed(Method.CRITIC, 0.05).perturbed(UniDad.TARGET, 0.05);
  }

  @Test
  void theStudentsLossIsTheFormulas() {
    try (Stage stage = apart()) {
      Seen seen = seen(stage);
      Outcome outcome = stage.phase(0);

      assertThat(outcome.parts().get("source"))
          .isCloseTo(half(seen.source), within(1e-4 * half(seen.source)));
      assertThat(outcome.parts().get("target"))
          .isCloseTo(half(seen.target), within(1e-4 * half(seen.target)));
      assertThat(outcome.parts().get("gan"))
          .isCloseTo(seen.deception, within(1e-4 * seen.deception));
      assertThat(outcome.total())
          .isCloseTo(half(seen.source) + half(seen.target) + 0.5 * seen.deception, within(1e-4));
    }
  }

  /// Through both calls.
  @Test
  void theStudentFollowsAllOfThem() {
    try (Stage stage = apart()) {
      Seen at = seen(stage);
      float[] gradient = stage.phase(0).gradients().get(Method.STUDENT);

      double slope =
          stage.slope(
              Method.STUDENT,
              unit(gradient),
              1e-2,
              () -> {
                Seen moved = seen(stage);
                double sum = 0.5 * moved.deception;
                for (int i = 0; i < at.x.length; i++) {
                  sum += (at.source[i] + at.target[i]) * moved.x[i] / at.x.length;
                }
                return sum;
              });

      assertThat(slope).isCloseTo(norm(gradient), within(0.02 * norm(gradient)));
    }
  }

  @Test
  void nothingMovesTheStudentWhenAllAreTheTeacher() {
    try (Stage stage = new Stage(recipe("uni_dad.gan=0"))) {
      Outcome outcome = stage.phase(0);

      assertThat(outcome.total()).isZero();
      assertThat(outcome.gradients().get(Method.STUDENT)).containsOnly(0f);
    }
  }

  @Test
  void onlyTheFirstImagesAreSeen() {
    Recipe few = recipe();
    Recipe all = recipe("uni_dad.shots=0");
    Backend cpu = CpuBackend.open();
    try (Trainer given = MethodSteps.trainer(few, cpu);
        Trainer everything = MethodSteps.trainer(all, cpu)) {
      assertThat(seen(MethodSteps.batches(few, given, cpu)))
          .containsExactly(0L, 1L, 2L, 3L, 4L, 5L);
      assertThat(seen(MethodSteps.batches(all, everything, cpu))).hasSizeGreaterThan(60);
    }
  }

  private static Set<Long> seen(LongFunction<Batch> batches) {
    Set<Long> indices = new TreeSet<>();
    for (long step = 0; step < 20; step++) {
      for (long index : batches.apply(step).indices()) {
        indices.add(index);
      }
    }
    return indices;
  }

  @Test
  void levelsAreGeometric() {
    assertThat(UniDad.Settings.DEFAULT.levels())
        .usingElementComparator((a, b) -> Math.abs(a - b) < 1e-9 ? 0 : Double.compare(a, b))
        .containsExactly(80.0, Math.sqrt(40), 0.5);
  }

  @Test
  void somethingIsLearnt() {
    assertThatThrownBy(() -> recipe("uni_dad.source=0", "uni_dad.target=0", "uni_dad.gan=0"))
        .hasMessageContaining("one of source, target and gan must be above 0");
  }
}
