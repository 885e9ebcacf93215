package io.retort.distill;

import static io.retort.distill.Stage.doubles;
import static io.retort.distill.Stage.norm;
import static io.retort.distill.Stage.unit;
import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodStepTest;
import io.retort.MethodSteps.Taken;
import io.retort.backend.CpuBackend;
import io.retort.diffusion.Preconditioning;
import io.retort.distill.ContinuousConsistency.Field;
import io.retort.distill.Stage.Outcome;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.SongUNet;
import io.retort.op.Backend;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.SequencedMap;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Consistency in continuous time: the derivative against one by reverse mode, the tangent against
/// the exact consistency function of Gaussian data, losses against float64 ones.
class ContinuousConsistencyTest implements MethodStepTest {
  private static final int BATCH = 4;
  private static final double SD = 0.5;

  @Override
  public MethodKind<?> kind() {
    return ContinuousConsistency.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "batch=" + BATCH,
        "tangent_warmup=0",
        "epsilon=0.01",
        "student.lr=0.01",
        "student.warmup=0",
        "student.cooldown=0",
        "student.eps=0.01");
  }

  @Override
  public SequencedMap<String, Double> golden() {
    return MethodStepTest.golden(
        entry("student/tangent", 0.1494095),
        entry("student/consistency", 0.79921),
        entry("student/log_variance", 0.3806229),
        entry("student/student_gradient_norm", 2.553302),
        entry("student/weighting_gradient_norm", 1.183567));
  }

  /// The central difference divides what rounding does to F by 2 epsilon, here 0.02.
  @Override
  public double tolerance() {
    return 5e-4;
  }

  /// The last of the parts is a mean of numbers near 0.
  @Override
  public double bfloat16Slack() {
    return 0.02;
  }

  /// For images of variance sd^2 without structure the path stands still, v = 0, and the exact
  /// student gives x back: `F = (cos a - 1) / sin a x / sd`. Nothing is left to correct.
  @Test
  void theTangentOfTheExactFunctionOfGaussianDataIsZero() {
    Backend cpu = CpuBackend.open();
    try (Scope scope = new Scope(cpu.memory())) {
      Tape tape = Tape.inference(cpu, scope);
      double[] angle = {0.01, 0.3, 0.8, 1.2, 1.55};
      Var x =
          tape.constant(
              Shape.of(5, 2, 1, 1), 0.3f, -0.9f, 0.5f, 0.1f, 1f, -1f, 2f, 0f, 0.7f, -0.2f);
      Field exact =
          (at, angles) ->
              ScoreMatching.perSample(
                  at,
                  Arrays.stream(angles).map(a -> (Math.cos(a) - 1) / Math.sin(a) / SD).toArray());
      Var still = x.scale(0);

      Var derivative = ContinuousConsistency.derivative(exact, x, angle, still, 1e-3);
      Var tangent =
          ContinuousConsistency.tangent(exact.at(x, angle), derivative, x, angle, still, 1, SD);

      assertThat(tangent.value().floats()).usingComparatorWithPrecision(1e-4f).containsOnly(0f);
      Var wrong = exact.at(x, angle).scale(1.1);
      assertThat(
              norm(
                  ContinuousConsistency.tangent(wrong, derivative, x, angle, still, 1, SD)
                      .value()
                      .floats()))
          .isGreaterThan(0.01);
    }
  }

  /// `u dF` of a network from the central difference, and from gradients of `u F` for the network's
  /// inputs: x / sd and ln(sd tan a) / 4, whose rate along the direction is 1 / 4. u is the central
  /// difference itself, so that nothing cancels.
  @Test
  void theDerivativeIsThatOfReverseMode() {
    Backend cpu = CpuBackend.open();
    SongUNet net =
        new SongUNet(new SongUNet.Config(8, 1, 0, 8, List.of(1, 1), 1, List.of(4), 0, 0));
    double[] angle = {0.05, 0.7, 1.3};
    Random random = new Random(3);
    float[] x = normal(random, 3 * 64, SD);
    float[] velocity = normal(random, 3 * 64, SD);
    Shape shape = Shape.of(3, 8, 8, 1);
    try (Parameters weights = net.plan().initialise(cpu.memory(), 4);
        Scope scope = new Scope(cpu.memory())) {
      float[] moved = weights.values().floats();
      for (int i = 0; i < moved.length; i++) {
        moved[i] += (float) (0.05 * random.nextGaussian());
      }
      weights.values().set(moved);
      Tape tape = Tape.inference(cpu, scope);
      Field field =
          (at, angles) ->
              net.apply(tape, weights, at.scale(1 / SD), told(tape, angles), null, null);
      Var difference =
          ContinuousConsistency.derivative(
              field, tape.constant(shape, x), angle, tape.constant(shape, velocity), 1e-3);
      float[] u = difference.value().floats();
      double along = dot(u, u);

      Tape walked = new Tape(cpu, scope, Set.of());
      Tensor ofX = scope.zeros(shape, DType.F32);
      Tensor ofLevel = scope.zeros(Shape.of(3), DType.F32);
      float[] inputs = new float[x.length];
      for (int i = 0; i < x.length; i++) {
        inputs[i] = (float) (x[i] / SD);
      }
      Var made =
          net.apply(
              walked,
              weights,
              walked.tracked(scope.of(shape, inputs), ofX),
              walked.tracked(told(walked, angle).value(), ofLevel),
              null,
              null);
      walked.backward(made, scope.of(shape, u));
      double expected = 0;
      float[] gradient = ofX.floats();
      for (int i = 0; i < x.length; i++) {
        double a = angle[i / 64];
        expected += gradient[i] * Math.sin(a) * Math.cos(a) * velocity[i] / SD;
      }
      for (float level : ofLevel.floats()) {
        expected += level / 4.0;
      }

      assertThat(Math.abs(expected)).isGreaterThan(0.1);
      assertThat(along).isCloseTo(expected, within(1e-3 * Math.abs(expected)));
    }
  }

  private static Var told(Tape tape, double[] angle) {
    float[] told = new float[angle.length];
    for (int i = 0; i < told.length; i++) {
      told[i] = (float) (Math.log(SD * Math.tan(angle[i])) / 4);
    }
    return tape.constant(Shape.of(told.length), told);
  }

  private static float[] normal(Random random, int count, double deviation) {
    float[] numbers = new float[count];
    for (int i = 0; i < count; i++) {
      numbers[i] = (float) (deviation * random.nextGaussian());
    }
    return numbers;
  }

  private static double dot(float[] a, float[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += (double) a[i] * b[i];
    }
    return sum;
  }

  /// What the first step sees, from the denoisers' images in EDM's terms: `F = (cos a x - D) / (sd
  /// sin a)`.
  private record Seen(double[] angle, double[] field, double[] tangent, double[] weights) {}

  private static Seen seen(Stage stage, boolean byTeacher, boolean normalised, double warmth) {
    return stage.with(nets -> {
      Noise noise = stage.noise(0);
      int[] labels = stage.batch().labels();
      float[] drawn = noise.logNormal(BATCH, -1, 1.4);
      double[] angle = new double[BATCH];
      double[] weights = new double[BATCH];
      for (int i = 0; i < BATCH; i++) {
        angle[i] = Math.atan(drawn[i] / SD);
        weights[i] = 1 / drawn[i];
      }
      double[] clean = doubles(nets.images(stage.batch(), BATCH));
      double[] z = doubles(noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), SD));
      double[] x = new double[clean.length];
      double[] velocity = new double[clean.length];
      int pixels = x.length / BATCH;
      for (int i = 0; i < x.length; i++) {
        double a = angle[i / pixels];
        x[i] = Math.cos(a) * clean[i] + Math.sin(a) * z[i];
        velocity[i] = Math.cos(a) * z[i] - Math.sin(a) * clean[i];
      }
      if (byTeacher) {
        double[] of = field(nets, Method.TEACHER, x, angle, labels);
        for (int i = 0; i < x.length; i++) {
          velocity[i] = SD * of[i];
        }
      }
      double h = 4e-3;
      double[] above = x.clone();
      double[] below = x.clone();
      double[] later = angle.clone();
      double[] earlier = angle.clone();
      for (int i = 0; i < x.length; i++) {
        double rate = h * Math.sin(angle[i / pixels]) * Math.cos(angle[i / pixels]);
        above[i] += rate * velocity[i];
        below[i] -= rate * velocity[i];
        later[i / pixels] = angle[i / pixels] + rate;
        earlier[i / pixels] = angle[i / pixels] - rate;
      }
      double[] field = field(nets, Method.STUDENT, x, angle, labels);
      double[] up = field(nets, Method.STUDENT, above, later, labels);
      double[] down = field(nets, Method.STUDENT, below, earlier, labels);
      double[] tangent = new double[x.length];
      double[] squares = new double[BATCH];
      for (int i = 0; i < x.length; i++) {
        double a = angle[i / pixels];
        double derivative = (up[i] - down[i]) / (2 * h);
        tangent[i] =
            -Math.pow(Math.cos(a), 2) * (SD * field[i] - velocity[i])
                - warmth * (Math.cos(a) * Math.sin(a) * x[i] + SD * derivative);
        squares[i / pixels] += tangent[i] * tangent[i] / pixels;
      }
      for (int i = 0; normalised && i < x.length; i++) {
        tangent[i] /= Math.sqrt(squares[i / pixels]) + 0.1;
      }
      return new Seen(angle, field, tangent, weights);
    });
  }

  private static double[] field(Nets nets, String role, double[] x, double[] angle, int[] labels) {
    int pixels = x.length / BATCH;
    float[] state = new float[x.length];
    float[] sigma = new float[BATCH];
    for (int i = 0; i < x.length; i++) {
      state[i] = (float) (x[i] / Math.cos(angle[i / pixels]));
      sigma[i / pixels] = (float) (SD * Math.tan(angle[i / pixels]));
    }
    Var images = nets.tape().constant(nets.images(role, BATCH), state);
    double[] denoised = doubles(nets.denoise(role, images, sigma, labels));
    double[] field = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      double a = angle[i / pixels];
      field[i] = (Math.cos(a) * x[i] - denoised[i]) / (SD * Math.sin(a));
    }
    return field;
  }

  private static double mean(Seen seen, double[] squares) {
    double sum = 0;
    for (int i = 0; i < squares.length; i++) {
      sum += seen.weights[i / (squares.length / BATCH)] * squares[i] / squares.length;
    }
    return sum;
  }

  private static double[] squared(double[] values) {
    return Arrays.stream(values).map(v -> v * v).toArray();
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void theLossIsItsFormula(boolean normalised) {
    String[] sets = {"scm.normalised=" + normalised, "scm.tangent_warmup=0"};
    try (Stage stage = new Stage(recipe(sets)).perturbed(Method.STUDENT, 0.05)) {
      Seen seen = seen(stage, true, normalised, 1);
      Outcome outcome = stage.phase(0);

      double expected = mean(seen, squared(seen.tangent));
      assertThat(outcome.parts().get("consistency")).isCloseTo(expected, within(5e-3 * expected));
      assertThat(outcome.parts().get("log_variance")).isZero();
      assertThat(outcome.total()).isCloseTo(expected, within(5e-3 * expected));
    }
  }

  @Test
  void trainingTakesTheVelocityOfImageAndNoise() {
    String[] sets = {
      "scm.source=data", "scm.normalised=false", "scm.adaptive=false", "scm.tangent_warmup=2"
    };
    try (Stage stage = new Stage(recipe(sets)).perturbed(Method.STUDENT, 0.05)) {
      double expected =
          mean(seen(stage, false, false, 0), squared(seen(stage, false, false, 0).tangent));

      assertThat(stage.phase(0).parts()).containsOnlyKeys("tangent", "consistency");
      assertThat(stage.phase(0).total()).isCloseTo(expected, within(1e-3 * expected));
    }
  }

  /// Until the tangent is warm a student that is its teacher has nothing to learn from it.
  @Test
  void nothingMovesTheTeacherItselfAtFirst() {
    String cold = "scm.tangent_warmup=2";
    try (Stage same = new Stage(recipe(cold));
        Stage moved = new Stage(recipe(cold)).perturbed(Method.STUDENT, 0.05)) {
      assertThat(norm(same.phase(0).gradients().get(Method.STUDENT)))
          .isLessThan(1e-4 * norm(moved.phase(0).gradients().get(Method.STUDENT)));
    }
  }

  @Test
  void theStudentsGradientHoldsTheTangentConstant() {
    try (Stage stage = new Stage(recipe("scm.tangent_warmup=0")).perturbed(Method.STUDENT, 0.05)) {
      Seen seen = seen(stage, true, true, 1);
      float[] gradient = stage.phase(0).gradients().get(Method.STUDENT);

      double slope =
          stage.slope(
              Method.STUDENT,
              unit(gradient),
              3e-3,
              () -> {
                double[] now = seen(stage, true, true, 1).field;
                double[] squares = new double[now.length];
                for (int i = 0; i < now.length; i++) {
                  squares[i] = Math.pow(now[i] - seen.field[i] - seen.tangent[i], 2);
                }
                return mean(seen, squares);
              });

      assertThat(slope).isCloseTo(norm(gradient), within(0.02 * norm(gradient)));
    }
  }

  /// `e^-u loss + u` is least where u is the logarithm of the loss.
  @Test
  void theWeightingLearnsTheLogarithmOfTheLoss() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.STUDENT, 0.05)) {
      float[] gradient = stage.phase(0).gradients().get(ContinuousConsistency.WEIGHTING);

      double slope =
          stage.slope(
              ContinuousConsistency.WEIGHTING, unit(gradient), 1e-2, () -> stage.phase(0).total());

      assertThat(slope).isCloseTo(norm(gradient), within(0.01 * norm(gradient)));
    }
  }

  @Test
  void theTangentWarmsUp() {
    ContinuousConsistency.Settings settings = ContinuousConsistency.Settings.DEFAULT;
    assertThat(settings.warmth(0)).isZero();
    assertThat(settings.warmth(150)).isEqualTo(0.5);
    assertThat(settings.warmth(900)).isEqualTo(1);
    Taken cold = take("scm.tangent_warmup=100000");

    assertThat(cold.losses()).isNotEqualTo(take().losses());
  }

  @Test
  void thereIsNoDerivativeAlongNumberedLevels() {
    try (Stage stage = new Stage(recipe())) {
      stage.<Object>with(nets -> {
        Nets numbered =
            new Nets(
                nets.tape(),
                Map.of(),
                Map.of(),
                Preconditioning.Iddpm.DEFAULT,
                DType.F32,
                new StepValues(nets.tape().scope()));
        Method.Loss loss = stage.method().phases().getFirst().loss();
        assertThatThrownBy(() -> loss.compute(numbered, stage.batch(), stage.noise(0)))
            .hasMessageContaining("the teacher must know every noise level");
        return nets;
      });
    }
  }
}
