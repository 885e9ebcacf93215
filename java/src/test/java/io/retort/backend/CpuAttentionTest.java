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

/// Attention in bfloat16 against float64, gradients by their formula: more tokens than a block has,
/// panels of channels with a tail, odd counts of everything that goes in pairs.
final class CpuAttentionTest {
  /// Relative L2. A number rounded to bfloat16 is off by at most 2^-8 of its power of two, 2^-8 /
  /// sqrt(3) = 2.3e-3 in quadratic mean; a result has seen at most three independent roundings that
  /// count: of the weights or of their gradients, of the output that the backward pass reads, and
  /// its own. Their quadratic sum is 3.9e-3. Heads of one or two channels are not among the cases:
  /// their softmax saturates, the gradient of q is a difference of nearly equal numbers, and the
  /// rounded output alone costs it 4e-3.
  private static final double BOUND = 3.9e-3;

  @ParameterizedTest
  @CsvSource({
    "1, 1, 130, 131, 33",
    "2, 2, 65, 129, 7",
    "1, 1, 257, 255, 130",
    "1, 1, 300, 517, 65",
    "1, 2, 31, 300, 256",
    "1, 3, 70, 64, 32",
    "1, 1, 513, 66, 16",
    "2, 1, 196, 196, 64",
    "1, 2, 47, 17, 200",
    "3, 1, 64, 97, 5"
  })
  void separateTensors(int n, int heads, int queries, int keys, int width) {
    try (Scope scope = new Scope(CPU.memory())) {
      var random = new Random(queries * 1000L + keys);
      int channels = heads * width;
      Tensor q = normal(scope, random, Shape.of(n, queries, channels), DType.BF16);
      Tensor k = normal(scope, random, Shape.of(n, keys, channels), DType.BF16);
      Tensor v = normal(scope, random, Shape.of(n, keys, channels), DType.BF16);
      Tensor gradOut = normal(scope, random, q.shape(), DType.BF16);
      Tensor out = scope.allocate(q.shape(), DType.BF16);
      Tensor lse = scope.allocate(Shape.of(n, heads, queries));
      CPU.attention().attention(q, k, v, heads, out, lse);
      Tensor dq = scope.allocate(q.shape(), DType.BF16);
      Tensor dk = scope.allocate(k.shape(), DType.BF16);
      Tensor dv = scope.allocate(v.shape(), DType.BF16);
      CPU.attention().attentionGradient(q, k, v, heads, out, lse, gradOut, dq, dk, dv);
      var exact =
          new Exact(n, heads, queries, keys, width)
              .of(floats(scope, q), floats(scope, k), floats(scope, v), floats(scope, gradOut));
      assertThat(distance(floats(scope, out), exact.out)).as("out").isLessThan(BOUND);
      assertThat(distance(lse.floats(), exact.lse)).as("lse").isLessThan(1e-6);
      assertThat(distance(floats(scope, dq), exact.dq)).as("dq").isLessThan(BOUND);
      assertThat(distance(floats(scope, dk), exact.dk)).as("dk").isLessThan(BOUND);
      assertThat(distance(floats(scope, dv), exact.dv)).as("dv").isLessThan(BOUND);
    }
  }

  @ParameterizedTest
  @CsvSource({"2, 2, 67, 40", "1, 3, 259, 19", "1, 1, 129, 66"})
  void blocksOfOneTensor(int n, int heads, int tokens, int width) {
    try (Scope scope = new Scope(CPU.memory())) {
      var random = new Random(tokens * 1000L + width);
      int channels = heads * width;
      Tensor qkv = normal(scope, random, Shape.of(n, tokens, 3 * channels), DType.BF16);
      Tensor gradOut = normal(scope, random, Shape.of(n, tokens, channels), DType.BF16);
      Tensor out = scope.allocate(gradOut.shape(), DType.BF16);
      Tensor lse = scope.allocate(Shape.of(n, heads, tokens));
      CPU.attention().selfAttention(qkv, heads, out, lse);
      Tensor dqkv = scope.allocate(qkv.shape(), DType.BF16);
      CPU.attention().selfAttentionGradient(qkv, heads, out, lse, gradOut, dqkv);
      float[] packed = floats(scope, qkv);
      float[] gradient = floats(scope, dqkv);
      var exact =
          new Exact(n, heads, tokens, tokens, width)
              .of(
                  block(packed, channels, 0),
                  block(packed, channels, 1),
                  block(packed, channels, 2),
                  floats(scope, gradOut));
      assertThat(distance(floats(scope, out), exact.out)).as("out").isLessThan(BOUND);
      assertThat(distance(block(gradient, channels, 0), exact.dq)).as("dq").isLessThan(BOUND);
      assertThat(distance(block(gradient, channels, 1), exact.dk)).as("dk").isLessThan(BOUND);
      assertThat(distance(block(gradient, channels, 2), exact.dv)).as("dv").isLessThan(BOUND);
    }
  }

  /// Threads share out the queries of a head that is alone, and heads that are many.
  @ParameterizedTest
  @CsvSource({"F32, 300, 70, 24", "F32, 65, 300, 256", "BF16, 300, 70, 24", "BF16, 65, 300, 256"})
  void aHeadIsTheSameAloneAndAmongOthers(DType type, int queries, int keys, int width) {
    int n = 64;
    try (Scope scope = new Scope(CPU.memory())) {
      var random = new Random(3);
      Tensor q = normal(scope, random, Shape.of(n, queries, width), type);
      Tensor k = normal(scope, random, Shape.of(n, keys, width), type);
      Tensor v = normal(scope, random, Shape.of(n, keys, width), type);
      Tensor out = scope.allocate(q.shape(), type);
      Tensor lse = scope.allocate(Shape.of(n, 1, queries));
      CPU.attention().attention(q, k, v, 1, out, lse);
      int at = n - 1;
      Tensor alone = scope.allocate(Shape.of(1, queries, width), type);
      Tensor lseAlone = scope.allocate(Shape.of(1, 1, queries));
      CPU.attention()
          .attention(
              q.view(scope, Shape.of(1, queries, width), (long) at * queries * width),
              k.view(scope, Shape.of(1, keys, width), (long) at * keys * width),
              v.view(scope, Shape.of(1, keys, width), (long) at * keys * width),
              1,
              alone,
              lseAlone);
      assertThat(floats(scope, alone))
          .containsExactly(
              floats(scope, out.view(scope, alone.shape(), (long) at * queries * width)));
      assertThat(lseAlone.floats())
          .containsExactly(lse.view(scope, lseAlone.shape(), (long) at * queries).floats());
    }
  }

  /// Output and gradients in float64, `(n, tokens, heads, width)` each.
  private static final class Exact {
    final int n;
    final int heads;
    final int queries;
    final int keys;
    final int width;
    final double[] out;
    final double[] lse;
    final double[] dq;
    final double[] dk;
    final double[] dv;

    Exact(int n, int heads, int queries, int keys, int width) {
      this.n = n;
      this.heads = heads;
      this.queries = queries;
      this.keys = keys;
      this.width = width;
      out = new double[n * queries * heads * width];
      lse = new double[n * heads * queries];
      dq = new double[out.length];
      dk = new double[n * keys * heads * width];
      dv = new double[dk.length];
    }

    Exact of(float[] q, float[] k, float[] v, float[] gradOut) {
      for (int sample = 0; sample < n; sample++) {
        for (int head = 0; head < heads; head++) {
          for (int i = 0; i < queries; i++) {
            query(q, k, v, gradOut, sample, head, i);
          }
        }
      }
      return this;
    }

    private void query(
        float[] q, float[] k, float[] v, float[] gradOut, int sample, int head, int i) {
      int at = at(sample * queries + i, head);
      double[] p = new double[keys];
      double sum = 0;
      for (int j = 0; j < keys; j++) {
        p[j] = Math.exp(dot(q, at, k, key(sample, head, j)) / Math.sqrt(width));
        sum += p[j];
      }
      lse[(sample * heads + head) * queries + i] = Math.log(sum);
      double drift = 0;
      for (int j = 0; j < keys; j++) {
        p[j] /= sum;
        drift += p[j] * dot(gradOut, at, v, key(sample, head, j));
      }
      for (int j = 0; j < keys; j++) {
        int other = key(sample, head, j);
        double slope = p[j] * (dot(gradOut, at, v, other) - drift) / Math.sqrt(width);
        for (int c = 0; c < width; c++) {
          out[at + c] += p[j] * v[other + c];
          dq[at + c] += slope * k[other + c];
          dk[other + c] += slope * q[at + c];
          dv[other + c] += p[j] * gradOut[at + c];
        }
      }
    }

    private int at(int token, int head) {
      return (token * heads + head) * width;
    }

    private int key(int sample, int head, int j) {
      return at(sample * keys + j, head);
    }

    private double dot(float[] a, int first, float[] b, int second) {
      double sum = 0;
      for (int c = 0; c < width; c++) {
        sum += (double) a[first + c] * b[second + c];
      }
      return sum;
    }
  }

  /// Block `index` of each token's three.
  private static float[] block(float[] packed, int channels, int index) {
    float[] block = new float[packed.length / 3];
    for (int i = 0; i < block.length; i++) {
      block[i] = packed[i / channels * 3 * channels + index * channels + i % channels];
    }
    return block;
  }
}
