package io.retort.op;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.backend.CpuBackend;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/// What the contract cannot say of one shape: laws of the estimators.
final class MmdTest {
  private static final int DIMENSIONS = 6;

  private record Result(double value, float[] gradient) {}

  static Stream<MmdKernel> kernels() {
    return Stream.of(
        new MmdKernel.Linear(),
        MmdKernel.Rbf.standard(),
        MmdKernel.Polynomial.kid(DIMENSIONS),
        new MmdKernel.Energy());
  }

  @ParameterizedTest
  @MethodSource("kernels")
  void unbiasedEstimateHasMeanZeroForOneLaw(MmdKernel kernel) {
    var random = new Random(11);
    double[] draws =
        IntStream.range(0, 200)
            .mapToDouble(
                i -> mmd(kernel, true, normal(random, 12, 0), normal(random, 20, 0)).value())
            .toArray();
    double mean = Arrays.stream(draws).average().orElseThrow();
    double variance = Arrays.stream(draws).map(x -> (x - mean) * (x - mean)).sum() / 199;
    assertThat(Math.abs(mean)).isLessThan(3 * Math.sqrt(variance / 200));
  }

  @ParameterizedTest
  @MethodSource("kernels")
  void orderOfPointsDoesNotMatter(MmdKernel kernel) {
    var random = new Random(12);
    float[][] u = normal(random, 70, 0);
    float[][] v = normal(random, 90, 0.3);
    Result before = mmd(kernel, true, u, v);
    List<Integer> order = shuffled(random, u.length);
    Collections.shuffle(Arrays.asList(v), random);
    Result after = mmd(kernel, true, order.stream().map(i -> u[i]).toArray(float[][]::new), v);
    assertThat(after.value()).isCloseTo(before.value(), within(2e-6));
    for (int i = 0; i < u.length; i++) {
      for (int c = 0; c < DIMENSIONS; c++) {
        assertThat(after.gradient()[i * DIMENSIONS + c])
            .isCloseTo(before.gradient()[order.get(i) * DIMENSIONS + c], within(1e-6f));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("kernels")
  void biasedEstimateIsNotNegative(MmdKernel kernel) {
    var random = new Random(13);
    for (int i = 0; i < 50; i++) {
      int n = 1 + random.nextInt(40);
      int m = 1 + random.nextInt(80);
      double value = mmd(kernel, false, normal(random, n, 0), normal(random, m, 0)).value();
      assertThat(value).isGreaterThan(-1e-6);
    }
  }

  @ParameterizedTest
  @MethodSource("kernels")
  void equalsTheDefinitionOnRandomSizes(MmdKernel kernel) {
    var random = new Random(14);
    for (int i = 0; i < 20; i++) {
      boolean unbiased = i % 2 == 0;
      float[][] u = normal(random, 2 + random.nextInt(150), 0.5);
      float[][] v = normal(random, 2 + random.nextInt(150), 0);
      double expected = definition(new Mmd(kernel, unbiased), u, v);
      assertThat(mmd(kernel, unbiased, u, v).value())
          .isCloseTo(expected, within(2e-6 * Math.max(1, Math.abs(expected))));
    }
  }

  @ParameterizedTest
  @MethodSource("kernels")
  void identicalSamplesAreAtDistanceZero(MmdKernel kernel) {
    float[][] u = normal(new Random(15), 67, 2);
    Result result = mmd(kernel, false, u, u.clone());
    assertThat(result.value()).isCloseTo(0, within(1e-6));
    assertThat(result.gradient()).usingComparatorWithPrecision(1e-6f).containsOnly(0);
  }

  /// All distances are 0: the bandwidth is too, and the energy's slope is not defined.
  @ParameterizedTest
  @MethodSource("kernels")
  void oneRepeatedPointHasNoGradient(MmdKernel kernel) {
    float[] point = normal(new Random(16), 1, 1000)[0];
    Result result =
        mmd(
            kernel,
            true,
            Collections.nCopies(5, point).toArray(float[][]::new),
            Collections.nCopies(9, point).toArray(float[][]::new));
    double size = kernel instanceof MmdKernel.Polynomial ? 1e18 : 1; // (|x|^2 / 6 + 1)^3
    assertThat(result.value() / size).isCloseTo(0, within(1e-6));
    for (float g : result.gradient()) {
      assertThat(g / size).isCloseTo(0, within(1e-6));
    }
  }

  @Test
  void energyOfTwoPointsIsTwiceTheirDistance() {
    Result result =
        mmd(new MmdKernel.Energy(), false, new float[][] {{3, 0}}, new float[][] {{0, 4}});
    assertThat(result.value()).isCloseTo(10, within(1e-5));
    assertThat(result.gradient()).usingComparatorWithPrecision(1e-6f).containsExactly(1.2f, -1.6f);
  }

  @Test
  void wrongShapesAreNamed() {
    var unbiased = new Mmd(new MmdKernel.Energy(), true);
    assertThatThrownBy(() -> unbiased.infer(List.of(Shape.of(4, 3), Shape.of(4, 2))))
        .isInstanceOf(ShapeException.class)
        .hasMessageContaining("mmd: inputs must be (n, d) and (m, d)");
    assertThatThrownBy(() -> unbiased.infer(List.of(Shape.of(1, 3), Shape.of(4, 3))))
        .isInstanceOf(ShapeException.class)
        .hasMessageContaining("at least 2 points");
    assertThatThrownBy(() -> new MmdKernel.Rbf(List.of(1.0, 0.0)))
        .hasMessageContaining("must be positive");
  }

  private static Result mmd(MmdKernel kernel, boolean unbiased, float[][] u, float[][] v) {
    var backend = CpuBackend.open();
    try (var scope = new Scope(backend.memory())) {
      var tape = new Tape(backend, scope, Set.of());
      var sink = scope.zeros(shape(u), DType.F32);
      Var generated = tape.tracked(scope.of(shape(u), flat(u)), sink);
      Var real = tape.constant(shape(v), flat(v));
      Var loss = generated.mmd(real, kernel, unbiased);
      tape.backward(loss);
      return new Result(loss.item(), sink.floats());
    }
  }

  private static double definition(Mmd op, float[][] u, float[][] v) {
    return op.reference(List.of(doubles(u), doubles(v)), List.of(shape(u), shape(v)))[0];
  }

  private static float[][] normal(Random random, int n, double mean) {
    var points = new float[n][DIMENSIONS];
    for (float[] point : points) {
      for (int c = 0; c < DIMENSIONS; c++) {
        point[c] = (float) (mean + random.nextGaussian());
      }
    }
    return points;
  }

  private static List<Integer> shuffled(Random random, int n) {
    var order = new ArrayList<>(IntStream.range(0, n).boxed().toList());
    Collections.shuffle(order, random);
    return order;
  }

  private static Shape shape(float[][] points) {
    return Shape.of(points.length, points[0].length);
  }

  private static float[] flat(float[][] points) {
    var flat = new float[points.length * points[0].length];
    for (int i = 0; i < points.length; i++) {
      System.arraycopy(points[i], 0, flat, i * points[i].length, points[i].length);
    }
    return flat;
  }

  private static double[] doubles(float[][] points) {
    float[] flat = flat(points);
    return IntStream.range(0, flat.length).mapToDouble(i -> flat[i]).toArray();
  }
}
