package io.retort.backend;

import static io.retort.backend.CpuNumbers.CPU;
import static io.retort.backend.CpuNumbers.distance;
import static io.retort.backend.CpuNumbers.floats;
import static io.retort.backend.CpuNumbers.normal;
import static org.assertj.core.api.Assertions.assertThat;

import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/// Products whose right factor is packed first, because they have many rows, and their neighbours
/// that are too small for it.
class CpuProductTest {
  private static final int STRIDE = 61;

  /// Relative L2 of float32 sums.
  private static final double EXACT = 1e-6;

  /// Of what is stored in bfloat16, see [CpuConvolutionTest].
  private static final double ROUNDED = 2.6e-3;

  @ParameterizedTest
  @CsvSource({
    "2048, 256, 512, false, false, F32",
    "2048, 256, 512, false, false, BF16",
    "2047, 256, 512, false, false, F32",
    "8192, 128, 256, false, true, F32",
    "8192, 128, 256, false, true, BF16",
    "8191, 128, 256, false, true, F32",
    "2051, 253, 509, true, false, F32",
    "2051, 253, 509, true, false, BF16",
  })
  void manyRows(int m, int n, int k, boolean turnedA, boolean turnedB, DType type) {
    try (var scope = new Scope(CPU.memory())) {
      var random = new Random(1);
      Tensor a = normal(scope, random, turnedA ? Shape.of(k, m) : Shape.of(m, k), type);
      Tensor b = normal(scope, random, turnedB ? Shape.of(n, k) : Shape.of(k, n), type);
      Tensor c = scope.allocate(Shape.of(m, n), type);

      CPU.products().matmul(a, turnedA, b, turnedB, c);

      check(floats(scope, a), turnedA, floats(scope, b), turnedB, floats(scope, c), m, n, k, type);
    }
  }

  /// A dense layer's weight is float32 whatever its activations are.
  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void manyRowsOfADenseLayer(DType type) {
    int rows = 8192;
    int in = 256;
    int out = 128;
    try (var scope = new Scope(CPU.memory())) {
      var random = new Random(2);
      Tensor x = normal(scope, random, Shape.of(rows, in), type);
      Tensor weight = normal(scope, random, Shape.of(out, in), DType.F32);
      Tensor y = scope.allocate(Shape.of(rows, out), type);

      CPU.products().linear(x, weight, null, y);

      check(floats(scope, x), false, weight.floats(), true, floats(scope, y), rows, out, in, type);
    }
  }

  /// Every 61st row of `c = op(a) op(b)` against float64.
  private static void check(
      float[] a,
      boolean turnedA,
      float[] b,
      boolean turnedB,
      float[] c,
      int m,
      int n,
      int k,
      DType type) {
    int rows = (m + STRIDE - 1) / STRIDE;
    float[] actual = new float[rows * n];
    double[] exact = new double[rows * n];
    for (int row = 0; row < rows; row++) {
      int i = row * STRIDE;
      System.arraycopy(c, i * n, actual, row * n, n);
      for (int p = 0; p < k; p++) {
        double factor = a[turnedA ? p * m + i : i * k + p];
        for (int j = 0; j < n; j++) {
          exact[row * n + j] += factor * b[turnedB ? j * k + p : p * n + j];
        }
      }
    }
    assertThat(distance(actual, exact)).isLessThan(type == DType.F32 ? EXACT : ROUNDED);
  }
}
