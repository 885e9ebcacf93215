package io.retort.distill;

import static io.retort.distill.Stage.doubles;
import static io.retort.distill.Stage.norm;
import static io.retort.distill.Stage.unit;
import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodStepTest;
import io.retort.distill.Stage.Outcome;
import io.retort.grad.Parameter;
import io.retort.grad.Var;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import java.util.Arrays;
import java.util.List;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;

/// TwinFlow: its four losses against float64 ones from the denoisers' images, its gradient with
/// every target held constant.
class TwinFlowTest implements MethodStepTest {
  private static final int BATCH = 4;
  private static final double LAST = 80 / 81.0;
  private static final double ENHANCED = 0.5;

  @Override
  public MethodKind<?> kind() {
    return TwinFlow.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "batch=" + BATCH,
        "student.lr=0.01",
        "student.warmup=0",
        "student.cooldown=0",
        "student.eps=0.01");
  }

  @Override
  public SequencedMap<String, Double> golden() {
    return MethodStepTest.golden(
        entry("student/mean_velocity", 0.7510749),
        entry("student/velocity", 0.8515735),
        entry("student/fake_velocity", 0.206848),
        entry("student/rectification", 7.673244e-07),
        entry("student/student_gradient_norm", 2.889504));
  }

  /// Each loss' velocities of the student, and what they should be.
  private record Seen(double[][] made, double[][] wanted) {
    double loss(int term, double[] made) {
      double sum = 0;
      for (int i = 0; i < made.length; i++) {
        sum += Math.pow(made[i] - wanted[term][i], 2) / made.length;
      }
      return sum;
    }
  }

  /// `F(x_t, t, s)` from the denoised image.
  private static double[] field(
      Nets nets, String role, double[] x, double[] t, double[] s, boolean negative, int[] labels) {
    int pixels = x.length / BATCH;
    float[] state = new float[x.length];
    float[] sigma = new float[BATCH];
    float[] told = new float[2 * BATCH];
    for (int i = 0; i < BATCH; i++) {
      sigma[i] = (float) (t[i] / (1 - t[i]));
      told[2 * i] = (float) s[i];
      told[2 * i + 1] = negative ? 1 : 0;
    }
    for (int i = 0; i < x.length; i++) {
      state[i] = (float) (x[i] / (1 - t[i / pixels]));
    }
    Var images = nets.tape().constant(nets.images(Method.STUDENT, BATCH), state);
    double[] denoised = doubles(nets.denoise(role, images, sigma, labels, told));
    double[] field = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      field[i] = (x[i] - denoised[i]) / t[i / pixels];
    }
    return field;
  }

  private static double[] uniform(PhiloxKey key) {
    double[] numbers = new double[BATCH];
    for (int i = 0; i < BATCH; i++) {
      numbers[i] = Philox.uniform(key, i);
    }
    return numbers;
  }

  private static double[] between(double[] z, double[] clean, double[] t) {
    double[] x = new double[z.length];
    for (int i = 0; i < x.length; i++) {
      double time = t[i / (x.length / BATCH)];
      x[i] = time * z[i] + (1 - time) * clean[i];
    }
    return x;
  }

  private static double[] times(double[] uniform) {
    return Arrays.stream(uniform).map(u -> 0.002 + (LAST - 0.002) * u).toArray();
  }

  private static Seen seen(Stage stage) {
    return stage.with(nets -> {
      Noise noise = stage.noise(0);
      int[] labels = stage.batch().labels();
      double[] t = times(uniform(noise.key(Purpose.TIME)));
      double[] s = uniform(noise.key(Purpose.TIME));
      for (int i = 0; i < BATCH; i++) {
        s[i] *= t[i];
      }
      double[] clean = doubles(nets.images(stage.batch(), BATCH));
      double[] z = doubles(noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH)));
      double[] x = between(z, clean, t);
      int pixels = x.length / BATCH;
      int[] others = {labels[1], labels[2], labels[3], labels[0]};
      double[] known = field(nets, TwinFlow.TARGET, x, t, t, false, labels);
      double[] unknown = field(nets, TwinFlow.TARGET, x, t, t, false, others);
      double[] v = new double[x.length];
      for (int i = 0; i < x.length; i++) {
        v[i] = z[i] - clean[i] + ENHANCED * (known[i] - unknown[i]);
      }
      double[] mean = field(nets, Method.STUDENT, x, t, s, false, labels);
      double[] middle = new double[BATCH];
      double[] half = new double[BATCH];
      for (int i = 0; i < BATCH; i++) {
        middle[i] = Math.max(t[i] - 0.01, s[i]);
        half[i] = (middle[i] + s[i]) / 2;
      }
      double[] at = new double[x.length];
      for (int i = 0; i < x.length; i++) {
        at[i] = x[i] - 0.01 * v[i];
      }
      double[] first = field(nets, TwinFlow.TARGET, at, middle, half, false, labels);
      for (int i = 0; i < x.length; i++) {
        at[i] -= first[i] * (middle[i / pixels] - half[i / pixels]);
      }
      double[] second = field(nets, TwinFlow.TARGET, at, half, s, false, labels);
      double[] corrected = new double[x.length];
      for (int i = 0; i < x.length; i++) {
        int n = i / pixels;
        double rest = first[i] * (middle[n] - half[n]) + second[i] * (half[n] - s[n]);
        double error =
            t[n] >= s[n] + 0.01
                ? 100 * (t[n] - s[n]) * mean[i] - 100 * rest - v[i]
                : mean[i] - v[i];
        corrected[i] = mean[i] - Math.clamp(error, -1, 1);
      }
      double[] now = field(nets, Method.STUDENT, x, t, t, false, labels);
      double[] last = new double[BATCH];
      Arrays.fill(last, LAST);
      double[] start = Arrays.stream(z).map(value -> LAST * value).toArray();
      double[] made = field(nets, Method.STUDENT, start, last, new double[BATCH], false, labels);
      double[] fake = new double[x.length];
      double[] away = new double[x.length];
      for (int i = 0; i < x.length; i++) {
        fake[i] = start[i] - LAST * made[i];
        away[i] = z[i] - fake[i];
      }
      double[] faked = field(nets, Method.STUDENT, between(z, fake, t), t, t, true, labels);
      double[] again = times(uniform(noise.key(Purpose.TIME)));
      double[] fresh = doubles(noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH)));
      double[] u = between(fresh, fake, again);
      double[] ofFakes = field(nets, Method.STUDENT, u, again, again, true, labels);
      double[] ofReal = field(nets, Method.STUDENT, u, again, again, false, labels);
      double[] rectified = new double[x.length];
      for (int i = 0; i < x.length; i++) {
        rectified[i] = made[i] - (ofFakes[i] - ofReal[i]);
      }
      return new Seen(
          new double[][] {mean, now, faked, made}, new double[][] {corrected, v, away, rectified});
    });
  }

  private Stage perturbed(String... sets) {
    return new Stage(recipe(sets)).perturbed(Method.STUDENT, 0.05).perturbed(TwinFlow.TARGET, 0.05);
  }

  @Test
  void theLossesAreTheirFormulas() {
    List<String> terms = List.of("mean_velocity", "velocity", "fake_velocity", "rectification");
    try (Stage stage = perturbed()) {
      Seen seen = seen(stage);
      Outcome outcome = stage.phase(0);

      double total = 0;
      for (int term = 0; term < 4; term++) {
        double expected = seen.loss(term, seen.made[term]);
        total += expected;
        assertThat(outcome.parts().get(terms.get(term)))
            .as(terms.get(term))
            .isCloseTo(expected, within(2e-3 * expected));
      }
      assertThat(outcome.total()).isCloseTo(total, within(2e-3 * total));
    }
  }

  @Test
  void everyTargetIsConstantForTheGradient() {
    try (Stage stage = perturbed()) {
      Seen seen = seen(stage);
      float[] gradient = stage.phase(0).gradients().get(Method.STUDENT);

      double slope =
          stage.slope(
              Method.STUDENT,
              unit(gradient),
              1e-3,
              () -> {
                // The fake images at which the third loss looks stay where they are.
                double[][] made = made(stage, seen);
                double sum = 0;
                for (int term = 0; term < 4; term++) {
                  sum += seen.loss(term, made[term]);
                }
                return sum;
              });

      assertThat(slope).isCloseTo(norm(gradient), within(0.02 * norm(gradient)));
    }
  }

  /// The student's velocities again, at the points that were drawn with its weights of before.
  private static double[][] made(Stage stage, Seen before) {
    return stage.with(nets -> {
      Noise noise = stage.noise(0);
      int[] labels = stage.batch().labels();
      double[] t = times(uniform(noise.key(Purpose.TIME)));
      double[] s = uniform(noise.key(Purpose.TIME));
      for (int i = 0; i < BATCH; i++) {
        s[i] *= t[i];
      }
      double[] clean = doubles(nets.images(stage.batch(), BATCH));
      double[] z = doubles(noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH)));
      double[] x = between(z, clean, t);
      double[] last = new double[BATCH];
      Arrays.fill(last, LAST);
      double[] start = Arrays.stream(z).map(value -> LAST * value).toArray();
      double[] fake = new double[x.length];
      for (int i = 0; i < x.length; i++) {
        fake[i] = z[i] - before.wanted[2][i];
      }
      return new double[][] {
        field(nets, Method.STUDENT, x, t, s, false, labels),
        field(nets, Method.STUDENT, x, t, t, false, labels),
        field(nets, Method.STUDENT, between(z, fake, t), t, t, true, labels),
        field(nets, Method.STUDENT, start, last, new double[BATCH], false, labels)
      };
    });
  }

  /// Told nothing, as every sampler calls it, the network is the teacher it began as.
  @Test
  void beginsAsTheTeacher() {
    try (Stage stage = new Stage(recipe())) {
      stage.with(nets -> {
        float[] sigma = {80, 1, 0.1f, 10};
        int[] labels = stage.batch().labels();
        Var x = stage.noise(0).normal(nets.tape(), nets.images(Method.STUDENT, BATCH));
        float[] teacher = nets.denoise(Method.TEACHER, x, sigma, labels).value().floats();

        assertThat(nets.denoise(Method.STUDENT, x, sigma, labels).value().floats())
            .isEqualTo(teacher);
        assertThat(
                nets.denoise(Method.STUDENT, x, sigma, labels, new float[2 * BATCH])
                    .value()
                    .floats())
            .isEqualTo(teacher);
        return null;
      });
      assertThat(stage.weights(TwinFlow.TARGET).values().floats())
          .isEqualTo(stage.weights(Method.STUDENT).values().floats());
    }
  }

  @Test
  void nothingIsRectifiedWhileNegativeTimesAreAsPositiveOnes() {
    try (Stage stage = perturbed()) {
      Parameter told = stage.weights(Method.STUDENT).get("model.map_augment.weight");
      float[] values = told.value().floats();
      for (int i = 1; i < values.length; i += 2) {
        values[i] = 0;
      }
      told.value().set(values);

      assertThat(stage.phase(0).parts().get("rectification")).isZero();
    }
  }

  @Test
  void theTwinCanBeLeftOut() {
    assertThat(take("twinflow.twin=0").losses().keySet())
        .containsExactly(
            "student/mean_velocity", "student/velocity", "student/student_gradient_norm");
    assertThat(take("twinflow.start=random").losses()).isNotEqualTo(take().losses());
    assertThat(take("twinflow.enhanced=0").losses()).isNotEqualTo(take().losses());
  }

  @Test
  void theAveragedCopyForgetsItsBeginning() {
    TwinFlow.Settings settings = TwinFlow.Settings.DEFAULT;

    assertThat(settings.decayAt(0)).isEqualTo(0.495);
    assertThat(settings.decayAt(1)).isCloseTo(0.495 + 0.505 * 0.495 / 2, within(1e-12));
    assertThat(settings.decayAt(100_000)).isCloseTo(0.99, within(1e-6));
  }
}
