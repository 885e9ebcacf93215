package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// [Attention] of a tensor's tokens to one another: q, k and v are three blocks of its channels.
///
/// Shapes: qkv `(N, ..., 3 C)` packed `[q | k | v]`, every axis between the first and the last
/// counts tokens; output `(N, ..., C)`. Float32 or bfloat16. Cost: compute-bound; the backward pass
/// recomputes the scores.
///
/// @param heads number of heads, a divisor of C
public record SelfAttention(int heads) implements Op {

  public SelfAttention {
    Attention.requireHeads("self_attention", heads);
  }

  @Override
  public Shape infer(List<Shape> inputs) {
    Shape qkv = inputs.getFirst();
    if (qkv.rank() < 3 || qkv.elements() == 0 || qkv.last() % (3L * heads) != 0) {
      throw new ShapeException(
          name()
              + ": input must be (N, tokens, 3 C), not empty, with C a multiple of "
              + heads
              + " heads, got "
              + qkv);
    }
    return qkv.with(-1, qkv.last() / 3);
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor qkv = inputs.getFirst();
    Tensor out = scope.allocate(infer(List.of(qkv.shape())), ElementTypes.floating(name(), qkv));
    Tensor lse = scope.allocate(Shape.of(qkv.shape().dim(0), heads, Attention.tokens(qkv.shape())));
    backend.attention().selfAttention(qkv, heads, out, lse);
    return List.of(out, lse);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    if (!saved.needs(0)) {
      return Collections.singletonList(null);
    }
    Tensor qkv = saved.input(0);
    Tensor gradient = scope.allocate(qkv.shape(), qkv.dtype());
    backend
        .attention()
        .selfAttentionGradient(qkv, heads, saved.output(), saved.extra(0), gradOut, gradient);
    return List.of(gradient);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    Shape single = infer(shapes);
    List<double[]> separate =
        List.of(
            block(inputs.getFirst(), single, 0),
            block(inputs.getFirst(), single, 1),
            block(inputs.getFirst(), single, 2));
    return new Attention(heads).reference(separate, List.of(single, single, single));
  }

  /// q, k or v out of the packed array.
  private static double[] block(double[] packed, Shape single, int index) {
    int channels = (int) single.last();
    double[] block = new double[packed.length / 3];
    for (int i = 0; i < block.length; i++) {
      block[i] = packed[i / channels * 3 * channels + index * channels + i % channels];
    }
    return block;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    Shape single = infer(inputs);
    double elements = 4.0 * single.elements();
    return new Cost(
        4.0 * single.elements() * Attention.tokens(single), elements * DType.F32.bytes());
  }

  public static List<Case> cases() {
    var one = new SelfAttention(1);
    var two = new SelfAttention(2);
    return List.of(
        Case.of("one token", one, Input.normal(1, 1, 6)),
        Case.of("image of odd sides", two, Input.normal(2, 3, 5, 12)),
        Case.of("power of two minus one", one, Input.normal(1, 63, 6)),
        Case.of("second block of queries", one, Input.normal(1, 65, 6)),
        Case.of("second tile of keys", one, Input.normal(1, 130, 3)),
        Case.of("three heads of prime width", new SelfAttention(3), Input.normal(1, 7, 63)),
        Case.of("several threads", two, Input.normal(2, 17, 192)),
        Case.of("nearly one-hot weights", one, Input.normal(0, 6, Shape.of(1, 11, 12)))
            .within(
                1e-4,
                1e-4,
                "scores of 100 are rounded at 1e-5, which is the relative error of a weight"),
        Case.of("bf16", two, Input.normal(2, 9, 24).bf16())
            .within(1e-2, 1e-2, "weights, output and incoming gradient are rounded to 2^-8"),
        Case.of("bf16, second block", one, Input.normal(1, 67, 6).bf16())
            .within(1e-2, 1e-2, "weights, output and incoming gradient are rounded to 2^-8"));
  }
}
