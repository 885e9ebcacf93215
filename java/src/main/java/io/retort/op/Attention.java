package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `out = softmax(q k^T / sqrt(C / heads)) v`, each head on its own channels.
///
/// Shapes: q `(N, ..., C)`, k and v `(N, ..., C)` with their own tokens: all axes between the first
/// and the last. Output as q. Head h owns the channels `[h C / heads, (h + 1) C / heads)`. Float32
/// or bfloat16; softmax in float32. Saved: logarithm of each softmax's denominator. Source: Vaswani
/// et al. 2017, eq. 1. For q, k, v of one tensor see [SelfAttention].
///
/// @param heads number of heads, a divisor of C
public record Attention(int heads) implements Op {

  public Attention {
    requireHeads("attention", heads);
  }

  static void requireHeads(String op, int heads) {
    if (heads < 1) {
      throw new IllegalArgumentException(op + ": heads must be at least 1, got " + heads);
    }
  }

  @Override
  public Shape infer(List<Shape> inputs) {
    Shape q = inputs.get(0);
    Shape k = inputs.get(1);
    for (Shape shape : inputs) {
      if (shape.rank() < 3 || shape.elements() == 0) {
        throw new ShapeException(
            name() + ": inputs must be (N, tokens, C) and not empty, got " + inputs);
      }
    }
    if (!inputs.get(2).equals(k) || k.dim(0) != q.dim(0) || k.last() != q.last()) {
      throw new ShapeException(
          name() + ": k and v must have one shape and N and C of q, got " + inputs);
    }
    if (q.last() % heads != 0) {
      throw new ShapeException(
          name() + ": C must be a multiple of " + heads + " heads, got " + q.last());
    }
    return q;
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor q = inputs.get(0);
    Tensor out = scope.allocate(q.shape(), ElementTypes.same(name(), inputs));
    Tensor lse = scope.allocate(Shape.of(q.shape().dim(0), heads, tokens(q.shape())));
    backend.attention().attention(q, inputs.get(1), inputs.get(2), heads, out, lse);
    return List.of(out, lse);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    @Nullable Tensor[] gradients = new @Nullable Tensor[3];
    for (int i = 0; i < 3; i++) {
      if (saved.needs(i)) {
        gradients[i] = scope.allocate(saved.input(i).shape(), saved.input(i).dtype());
      }
    }
    backend
        .attention()
        .attentionGradient(
            saved.input(0),
            saved.input(1),
            saved.input(2),
            heads,
            saved.output(),
            saved.extra(0),
            gradOut,
            gradients[0],
            gradients[1],
            gradients[2]);
    return Arrays.asList(gradients);
  }

  /// Product of all axes but the first and the last.
  static long tokens(Shape shape) {
    return shape.elements() / shape.dim(0) / shape.last();
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    Shape q = shapes.get(0);
    int channels = (int) q.last();
    int queries = (int) tokens(q);
    int keys = (int) tokens(shapes.get(1));
    int width = channels / heads;
    double[] out = new double[inputs.get(0).length];
    double[] weights = new double[keys];
    for (int row = 0; row < q.dim(0) * queries; row++) {
      int firstKey = row / queries * keys;
      for (int from = 0; from < channels; from += width) {
        double sum = 0;
        double largest = Double.NEGATIVE_INFINITY;
        for (int j = 0; j < keys; j++) {
          double score = 0;
          for (int c = from; c < from + width; c++) {
            score +=
                inputs.get(0)[row * channels + c] * inputs.get(1)[(firstKey + j) * channels + c];
          }
          weights[j] = score / Math.sqrt(width);
          largest = Math.max(largest, weights[j]);
        }
        for (int j = 0; j < keys; j++) {
          weights[j] = Math.exp(weights[j] - largest);
          sum += weights[j];
        }
        for (int j = 0; j < keys; j++) {
          for (int c = from; c < from + width; c++) {
            out[row * channels + c] +=
                weights[j] / sum * inputs.get(2)[(firstKey + j) * channels + c];
          }
        }
      }
    }
    return out;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    Shape q = inputs.get(0);
    double elements = 2.0 * q.elements() + 2.0 * inputs.get(1).elements();
    return new Cost(4.0 * q.elements() * tokens(inputs.get(1)), elements * DType.F32.bytes());
  }

  public static List<Case> cases() {
    return List.of(
        across("one key", 1, 2, 5, 1, 3),
        across("fewer keys than queries", 2, 2, 7, 4, 6),
        across("two blocks of queries, two tiles of keys", 1, 1, 65, 129, 2),
        across("tail of a vector", 3, 1, 3, 17, 51),
        Case.of(
            "images attend to words",
            new Attention(2),
            Input.normal(2, 3, 5, 4),
            Input.normal(2, 7, 4),
            Input.normal(2, 7, 4)),
        Case.of(
                "values of mean 1000",
                new Attention(1),
                Input.normal(1, 5, 3),
                Input.normal(1, 9, 3),
                Input.normal(1000, 1, Shape.of(1, 9, 3)))
            .within(
                1e-3,
                1e-6,
                "weights that sum to 1 within 1e-7 times 1000; the gradient subtracts 1000s"),
        Case.of(
                "bf16",
                new Attention(2),
                Input.normal(2, 5, 6).bf16(),
                Input.normal(2, 9, 6).bf16(),
                Input.normal(2, 9, 6).bf16())
            .within(1e-2, 1e-2, "weights, output and incoming gradient are rounded to 2^-8"));
  }

  private static Case across(
      String name, int heads, long n, long queries, long keys, long channels) {
    return Case.of(
        name,
        new Attention(heads),
        Input.normal(n, queries, channels),
        Input.normal(n, keys, channels),
        Input.normal(n, keys, channels));
  }
}
