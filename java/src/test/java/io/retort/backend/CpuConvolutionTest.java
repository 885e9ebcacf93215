package io.retort.backend;

import static io.retort.backend.CpuNumbers.CPU;
import static io.retort.backend.CpuNumbers.distance;
import static io.retort.backend.CpuNumbers.floats;
import static io.retort.backend.CpuNumbers.normal;
import static org.assertj.core.api.Assertions.assertThat;

import io.retort.op.Conv2d;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// 3x3 convolutions of as many tiles and channels as the processor multiplies by Winograd's
/// algorithm, too large for every backend's contract: against float64, gradients by their formula.
final class CpuConvolutionTest {
  /// Relative L2 of what is stored in bfloat16: off by at most 2^-8 of its power of two, 1.7e-3 of
  /// itself in quadratic mean; as much again where the weights are rounded, too.
  private static final double ROUNDED = 2.6e-3;

  /// Relative L2 of float32 sums whose transforms cost a digit.
  private static final double EXACT = 1e-5;

  @ParameterizedTest
  @CsvSource({
    "F32, 3, 17, 18, 32, 32",
    "F32, 5, 9, 11, 160, 48",
    "F32, 2, 28, 28, 32, 64",
    "BF16, 4, 16, 16, 64, 32",
    "BF16, 2, 19, 20, 32, 48",
    "BF16, 13, 16, 17, 64, 64",
    "BF16, 18, 16, 16, 144, 32",
    "BF16, 18, 16, 16, 32, 144"
  })
  void manyTiles(DType type, int n, int height, int width, int in, int out) {
    try (Scope scope = new Scope(CPU.memory())) {
      var random = new Random(1000L * in + out);
      var conv = new Conv2d(1, 1, 1);
      Tensor x = normal(scope, random, Shape.of(n, height, width, in), type);
      Tensor weight = normal(scope, random, Shape.of(out, in, 3, 3), DType.F32);
      Tensor bias = normal(scope, random, Shape.of(out), DType.F32);
      Tensor gradOut = normal(scope, random, Shape.of(n, height, width, out), type);
      Tensor y = scope.allocate(gradOut.shape(), type);
      Tensor gradX = scope.allocate(x.shape(), type);
      Tensor gradWeight = scope.allocate(weight.shape());
      Tensor gradBias = scope.allocate(bias.shape());
      CPU.convolutions().conv2d(conv, x, weight, bias, null, null, y);
      var tailed = new Conv2d(1, 1, 1, new Conv2d.Tail(true, true, 0.7));
      Tensor shift = normal(scope, random, Shape.of(n, out), DType.F32);
      Tensor residual = normal(scope, random, gradOut.shape(), type);
      Tensor joined = scope.allocate(gradOut.shape(), type);
      CPU.convolutions().conv2d(tailed, x, weight, bias, shift, residual, joined);
      CPU.convolutions().conv2dDataGradient(conv, gradOut, weight, gradX);
      CPU.convolutions().conv2dWeightGradient(conv, x, gradOut, gradWeight, gradBias);
      var exact =
          new Exact(n, height, width, in, out)
              .of(floats(scope, x), weight.floats(), bias.floats(), floats(scope, gradOut));
      double bound = type == DType.BF16 ? ROUNDED : EXACT;
      assertThat(distance(floats(scope, y), exact.y)).as("y").isLessThan(bound);
      double[] ended = ended(exact.y, shift.floats(), floats(scope, residual), out);
      assertThat(distance(floats(scope, joined), ended)).as("with a tail").isLessThan(bound);
      assertThat(distance(floats(scope, gradX), exact.dx)).as("dx").isLessThan(bound);
      assertThat(distance(gradWeight.floats(), exact.dweight)).as("dweight").isLessThan(EXACT);
      assertThat(distance(gradBias.floats(), exact.dbias)).as("dbias").isLessThan(EXACT);
    }
  }

  /// `0.7 (y + shift + residual)`.
  private static double[] ended(double[] y, float[] shift, float[] residual, int channels) {
    int image = y.length / shift.length * channels;
    double[] ended = new double[y.length];
    for (int i = 0; i < y.length; i++) {
      ended[i] = 0.7 * (y[i] + shift[i / image * channels + i % channels] + residual[i]);
    }
    return ended;
  }

  /// Output and gradients in float64.
  private static final class Exact {
    final int n;
    final int height;
    final int width;
    final int in;
    final int out;
    final double[] y;
    final double[] dx;
    final double[] dweight;
    final double[] dbias;

    Exact(int n, int height, int width, int in, int out) {
      this.n = n;
      this.height = height;
      this.width = width;
      this.in = in;
      this.out = out;
      y = new double[n * height * width * out];
      dx = new double[n * height * width * in];
      dweight = new double[out * in * 9];
      dbias = new double[out];
    }

    Exact of(float[] x, float[] weight, float[] bias, float[] gradOut) {
      for (int i = 0; i < y.length; i++) {
        y[i] = bias[i % out];
        dbias[i % out] += gradOut[i];
      }
      double[] byTap = new double[dweight.length];
      float[] weightByTap = new float[weight.length];
      for (int i = 0; i < weight.length; i++) {
        weightByTap[byTap(i)] = weight[i];
      }
      for (int pixel = 0; pixel < n * height * width; pixel++) {
        for (int tap = 0; tap < 9; tap++) {
          int row = pixel / width % height + tap / 3 - 1;
          int column = pixel % width + tap % 3 - 1;
          if (row >= 0 && row < height && column >= 0 && column < width) {
            int other = pixel + (tap / 3 - 1) * width + tap % 3 - 1;
            tap(x, other * in, weightByTap, byTap, tap * out * in, gradOut, pixel * out);
          }
        }
      }
      for (int i = 0; i < weight.length; i++) {
        dweight[i] = byTap[byTap(i)];
      }
      return this;
    }

    /// Where a number of `(out, in, 3, 3)` lies in `(3, 3, out, in)`.
    private int byTap(int index) {
      return index % 9 * out * in + index / 9;
    }

    private void tap(
        float[] x, int from, float[] weight, double[] byTap, int first, float[] dy, int to) {
      for (int o = 0; o < out; o++) {
        double sum = 0;
        for (int c = 0; c < in; c++) {
          int at = first + o * in + c;
          sum += (double) x[from + c] * weight[at];
          dx[from + c] += (double) dy[to + o] * weight[at];
          byTap[at] += (double) dy[to + o] * x[from + c];
        }
        y[to + o] += sum;
      }
    }
  }
}
