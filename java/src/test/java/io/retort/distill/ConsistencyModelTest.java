package io.retort.distill;

import static io.retort.distill.Stage.doubles;
import static io.retort.distill.Stage.norm;
import static io.retort.distill.Stage.unit;
import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodStepTest;
import io.retort.MethodSteps.Taken;
import io.retort.diffusion.KarrasSigmas;
import io.retort.diffusion.Preconditioning;
import io.retort.distill.ConsistencyModel.Curve;
import io.retort.distill.ConsistencySchedule.Levels;
import io.retort.grad.Var;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Shape;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// Consistency models: losses against float64 ones computed from the networks' outputs, gradients
/// against finite differences with the target held constant, schedules against their formulas.
class ConsistencyModelTest implements MethodStepTest {
  private static final int BATCH = 4;

  @Override
  public MethodKind<?> kind() {
    return ConsistencyModel.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "batch=" + BATCH,
        "embedding.width=8",
        "embedding.depth=2",
        "student.lr=0.01",
        "student.warmup=0",
        "student.cooldown=0",
        "student.eps=0.01");
  }

  @Override
  public SequencedMap<String, Double> golden() {
    return MethodStepTest.golden(
        entry("student/consistency", 0.004417216),
        entry("student/student_gradient_norm", 0.05148691));
  }

  private static ConsistencySchedule schedule(Curve curve, int levels, int first, long steps) {
    return new ConsistencySchedule(curve, levels, first, 0.95, -1.1, 2, 2, 8, steps);
  }

  @Test
  void gridsGrowAsTheirPapersSay() {
    ConsistencySchedule ct = schedule(Curve.CT, 150, 2, 1000);
    assertThat(ct.levelsAt(0)).isEqualTo(2);
    assertThat(ct.levelsAt(500))
        .isEqualTo((int) Math.ceil(Math.sqrt(0.5 * (151 * 151 - 4) + 4) - 1) + 1);
    assertThat(ct.levelsAt(1000)).isEqualTo(151);
    assertThat(ct.decayAt(0)).isCloseTo(0.95, within(1e-12));
    assertThat(ct.decayAt(1000)).isCloseTo(Math.exp(2 * Math.log(0.95) / 151), within(1e-12));

    ConsistencySchedule ict = schedule(Curve.ICT, 1280, 10, 8000);
    assertThat(ict.levelsAt(0)).isEqualTo(11);
    assertThat(ict.levelsAt(999)).isEqualTo(11);
    assertThat(ict.levelsAt(1000)).isEqualTo(21);
    assertThat(ict.levelsAt(7999)).isEqualTo(1281);
    assertThat(schedule(Curve.FIXED, 18, 2, 10).levelsAt(9)).isEqualTo(18);
  }

  @ParameterizedTest
  @EnumSource(Curve.class)
  void levelsAreOrderedAndWeighted(Curve curve) {
    ConsistencySchedule schedule = schedule(curve, 18, 4, 100);
    Levels levels = schedule.draw(2000, KarrasSigmas.EDM, new Noise(1, 99, 0));

    for (int i = 0; i < 2000; i++) {
      double high = levels.high()[i];
      double low = levels.low()[i];
      assertThat(high).isGreaterThan(low).isLessThanOrEqualTo(80.001);
      boolean uniform = curve == Curve.FIXED || curve == Curve.CT;
      assertThat(levels.weight()[i])
          .isCloseTo(uniform ? 1 : 1 / (high - low), within(1e-9 / (high - low)));
    }
    if (curve != Curve.ECM) {
      assertThat(levels.low()).contains(KarrasSigmas.EDM.bin(0, schedule.levelsAt(99)));
    }
  }

  /// NCSN++ knows levels from 0.02 on: nothing below is asked for, but for the image itself.
  @ParameterizedTest
  @EnumSource(Curve.class)
  void levelsAreThoseTheNetworksKnow(Curve curve) {
    KarrasSigmas known = KarrasSigmas.EDM.within(new Preconditioning.Ve(0.02, 50));
    Levels levels = schedule(curve, 18, 4, 100).draw(2000, known, new Noise(1, 99, 0));

    for (int i = 0; i < 2000; i++) {
      assertThat(levels.high()[i]).isBetween(0.02, 50.001);
      if (curve != Curve.ECM) {
        assertThat(levels.low()[i]).isGreaterThan(0.0199);
      }
    }
  }

  /// `r = t (1 - n(t) / q^(stage + 1))`, `n(t) = 1 + 8 sigmoid(-t)`; nothing of t is left early on.
  @Test
  void ecmLevelsComeNearerStageByStage() {
    ConsistencySchedule schedule = schedule(Curve.ECM, 18, 4, 80);
    Levels early = schedule.draw(500, KarrasSigmas.EDM, new Noise(1, 0, 0));
    Levels late = schedule.draw(500, KarrasSigmas.EDM, new Noise(1, 79, 0));

    for (int i = 0; i < 500; i++) {
      double t = late.high()[i];
      double n = 1 + 8 / (1 + Math.exp(t));
      assertThat(late.low()[i]).isCloseTo(t * (1 - n / 256), within(1e-9 * t));
      double e = early.high()[i];
      double first = 1 + 8 / (1 + Math.exp(e));
      assertThat(early.low()[i]).isCloseTo(Math.max(0, e * (1 - first / 2)), within(1e-9 * e));
    }
    assertThat(early.low()).contains(0);
  }

  /// The loss of the first step as its formula, from the networks' outputs.
  private static double expected(Stage stage, ConsistencySchedule schedule, boolean byTeacher) {
    return stage.with(nets -> {
      Noise noise = stage.noise(0);
      int[] labels = stage.batch().labels(BATCH);
      Levels levels = schedule.draw(BATCH, KarrasSigmas.EDM, noise);
      PhiloxKey key = noise.key(Purpose.NOISE);
      Var clean = nets.images(stage.batch(), BATCH);
      float[] high = floats(levels.high());
      Var x = Noise.add(clean, high, key);
      double[] start = doubles(x);
      int pixels = start.length / BATCH;
      double[] nearer = doubles(Noise.add(clean, floats(levels.low()), key));
      float[] low = floats(Arrays.stream(levels.low()).map(l -> Math.max(l, 0.002)).toArray());
      if (byTeacher) {
        double[] denoised = doubles(nets.denoise(Method.TEACHER, x, high, labels));
        double[] euler = new double[start.length];
        for (int i = 0; i < start.length; i++) {
          double t = levels.high()[i / pixels];
          double r = levels.low()[i / pixels];
          euler[i] = start[i] + (r - t) * (start[i] - denoised[i]) / t;
        }
        Var reached = nets.tape().constant(x.shape(), floats(euler));
        double[] again = doubles(nets.denoise(Method.TEACHER, reached, low, labels));
        for (int i = 0; i < start.length; i++) {
          double t = levels.high()[i / pixels];
          double r = levels.low()[i / pixels];
          double slope = (start[i] - denoised[i]) / t + (euler[i] - again[i]) / r;
          nearer[i] = start[i] + (r - t) * slope / 2;
        }
      }
      Var point = nets.tape().constant(x.shape(), floats(nearer));
      String role = schedule.hasTarget() ? ConsistencyModel.TARGET : Method.STUDENT;
      double[] target = doubles(nets.denoise(role, point, low, labels));
      double[] made = doubles(nets.denoise(Method.STUDENT, x, high, labels));
      double sum = 0;
      for (int i = 0; i < made.length; i++) {
        boolean boundary = levels.low()[i / pixels] < 0.0021;
        double wanted = boundary ? nearer[i] : target[i];
        sum += levels.weight()[i / pixels] * Math.pow(made[i] - wanted, 2) / made.length;
      }
      return sum;
    });
  }

  private static float[] floats(double[] values) {
    float[] floats = new float[values.length];
    for (int i = 0; i < values.length; i++) {
      floats[i] = (float) values[i];
    }
    return floats;
  }

  @Test
  void distillationIsItsFormula() {
    ConsistencySchedule schedule =
        new ConsistencySchedule(Curve.FIXED, 18, 10, 0.95, -1.1, 2, 2, 8, 3);
    try (Stage stage =
        new Stage(recipe())
            .perturbed(Method.STUDENT, 0.05)
            .perturbed(ConsistencyModel.TARGET, 0.05)) {
      double expected = expected(stage, schedule, true);

      assertThat(stage.phase(0).parts().get("consistency"))
          .isCloseTo(expected, within(1e-4 * expected));
    }
  }

  @ParameterizedTest
  @EnumSource(Curve.class)
  void trainingIsItsFormula(Curve curve) {
    ConsistencySchedule schedule = new ConsistencySchedule(curve, 18, 4, 0, -1.1, 2, 2, 8, 3);
    String name = curve.name().toLowerCase(Locale.ROOT);
    try (Stage stage =
        new Stage(
                recipe(
                    "consistency.source=data",
                    "consistency.decay=0",
                    "consistency.first_scales=4",
                    "consistency.curve=" + name))
            .perturbed(Method.STUDENT, 0.05)) {
      double expected = expected(stage, schedule, false);

      assertThat(stage.phase(0).parts().get("consistency"))
          .isCloseTo(expected, within(1e-4 * expected));
    }
  }

  @Test
  void theTargetIsConstantForTheGradient() {
    try (Stage stage =
        new Stage(recipe())
            .perturbed(Method.STUDENT, 0.05)
            .perturbed(ConsistencyModel.TARGET, 0.05)) {
      float[] gradient = stage.phase(0).gradients().get(Method.STUDENT);

      double slope =
          stage.slope(
              Method.STUDENT,
              unit(gradient),
              3e-3,
              () -> stage.phase(0).parts().get("consistency"));

      assertThat(slope).isCloseTo(norm(gradient), within(0.02 * norm(gradient)));
    }
  }

  @Test
  void theTargetFollowsTheStudent() {
    Taken taken = take("steps=1");
    float[] before = taken.before().get(ConsistencyModel.TARGET);
    float[] student = taken.after().get(Method.STUDENT);
    float[] target = taken.after().get(ConsistencyModel.TARGET);

    assertThat(target).isNotEqualTo(before);
    for (int i = 0; i < target.length; i++) {
      assertThat(target[i]).isCloseTo(0.95f * before[i] + 0.05f * student[i], within(1e-6f));
    }
    assertThat(take("consistency.decay=0").before()).doesNotContainKey(ConsistencyModel.TARGET);
  }

  @Test
  void pseudoHuberIsItsFormula() {
    try (Stage stage = new Stage(recipe())) {
      stage.with(nets -> {
        Var a = nets.tape().constant(Shape.of(1, 2, 2, 1), 1f, 2f, 3f, 4f);
        Var b = nets.tape().constant(Shape.of(1, 2, 2, 1), 1f, 0f, 3f, 1f);
        assertThat((double) Distance.PSEUDO_HUBER.perSample(a, b, 0.5).value().floats()[0])
            .isCloseTo(Math.sqrt(13 + 1) - 1, within(1e-6));
        assertThat((double) Distance.L1.perSample(a, b, 0).value().floats()[0])
            .isCloseTo(1.25, within(1e-6));
        return null;
      });
    }
  }

  @Test
  void theEmbeddingLossIsATermThatCanBeLeftOut() {
    Taken plain = take();
    Taken off = take("consistency.embedding.networks=3");
    Taken on = take("consistency.embedding.weight=0.5");

    assertThat(off.losses()).isEqualTo(plain.losses());
    plain
        .after()
        .forEach((role, weights) -> assertThat(off.after().get(role)).as(role).isEqualTo(weights));
    assertThat(on.losses()).containsKey("student/embedding");
  }

  @Test
  void aStudentMayBeginAtRandom() {
    Taken taken = take("consistency.start=random", "consistency.source=data");

    assertThat(taken.before().get(Method.STUDENT))
        .isNotEqualTo(taken.before().get(Method.TEACHER))
        .isEqualTo(taken.before().get(ConsistencyModel.TARGET));
  }
}
