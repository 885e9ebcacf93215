package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `y = (x - mean_g) / sqrt(var_g + eps) * gamma_c + beta_c`, statistics per (sample, group), then
/// SiLU if asked.
///
/// Inputs: x `(N, ..., C)` float32 or bfloat16, gamma and beta `(C)` float32. As many groups as
/// channels is instance norm. Saved: mean, rstd `(N, groups)`; the backward pass recomputes the
/// rest from x. Cost: x is read once from memory and y written once; memory-bound. Source: Wu & He
/// 2018, eq. 7.
///
/// @param groups how many equal runs of channels share their statistics
/// @param eps added to the variance
/// @param silu whether SiLU follows, in the same pass
public record GroupNorm(int groups, double eps, boolean silu) implements Op {

  public GroupNorm {
    if (groups < 1 || !(eps >= 0)) {
      throw new IllegalArgumentException(
          "group_norm: groups must be >= 1 and eps >= 0, got " + groups + ", " + eps);
    }
  }

  /// @throws ShapeException if C is not a multiple of `groups`, or gamma or beta is not `(C)`
  @Override
  public Shape infer(List<Shape> inputs) {
    Shape x = inputs.getFirst();
    if (x.rank() < 2 || x.elements() == 0) {
      throw new ShapeException("group_norm: x must be (N, ..., C) and not empty, got " + x);
    }
    if (x.last() % groups != 0) {
      throw new ShapeException(
          "group_norm: channels must be a multiple of "
              + groups
              + " groups, got "
              + x.last()
              + " (x "
              + x
              + ")");
    }
    return scaled(name(), inputs);
  }

  /// The shape of x, checked against gamma and beta of one number a channel.
  static Shape scaled(String op, List<Shape> inputs) {
    Shape channels = Shape.of(inputs.getFirst().last());
    if (!inputs.get(1).equals(channels) || !inputs.get(2).equals(channels)) {
      throw new ShapeException(
          op
              + ": gamma and beta must be "
              + channels
              + ", got "
              + inputs.get(1)
              + " and "
              + inputs.get(2)
              + " (x "
              + inputs.getFirst()
              + ")");
    }
    return inputs.getFirst();
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor x = inputs.getFirst();
    ElementTypes.floating(name(), x);
    ElementTypes.weights(name(), inputs, 1);
    Tensor y = scope.allocate(x.shape(), x.dtype());
    Tensor mean = scope.allocate(Shape.of(x.shape().dim(0), groups));
    Tensor rstd = scope.allocate(mean.shape());
    backend.norms().groupNorm(groups, eps, silu, x, inputs.get(1), inputs.get(2), y, mean, rstd);
    return List.of(y, mean, rstd);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    @Nullable Tensor[] gradients = new @Nullable Tensor[3];
    for (int i = 0; i < gradients.length; i++) {
      gradients[i] = saved.needs(i) ? saved.gradient(scope, i) : null;
    }
    backend
        .norms()
        .groupNormGradient(
            groups,
            silu,
            saved.input(0),
            gradOut,
            saved.input(1),
            saved.input(2),
            saved.extra(0),
            saved.extra(1),
            gradients[0],
            gradients[1],
            gradients[2]);
    return Arrays.asList(gradients);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] x = inputs.getFirst();
    int samples = (int) shapes.getFirst().dim(0);
    int channels = (int) shapes.getFirst().last();
    int size = x.length / samples;
    double[] y = new double[x.length];
    for (int n = 0; n < samples; n++) {
      for (int g = 0; g < groups; g++) {
        double sum = 0;
        double squares = 0;
        int count = 0;
        for (int i = n * size; i < (n + 1) * size; i++) {
          if (i % channels * groups / channels == g) {
            sum += x[i];
            count++;
          }
        }
        double mean = sum / count;
        for (int i = n * size; i < (n + 1) * size; i++) {
          if (i % channels * groups / channels == g) {
            squares += (x[i] - mean) * (x[i] - mean);
          }
        }
        double deviation = Math.sqrt(squares / count + eps);
        for (int i = n * size; i < (n + 1) * size; i++) {
          int c = i % channels;
          if (c * groups / channels == g) {
            double u = (x[i] - mean) / deviation * inputs.get(1)[c] + inputs.get(2)[c];
            y[i] = silu ? u / (1 + Math.exp(-u)) : u;
          }
        }
      }
    }
    return y;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double elements = inputs.getFirst().elements();
    return new Cost((silu ? 26 : 8) * elements, 8 * elements);
  }

  public static List<Case> cases() {
    return List.of(
        of("one element", 1, false, 1, 1, 1, 1),
        of("odd", 3, false, 2, 3, 5, 9),
        of("odd, silu", 3, true, 2, 3, 5, 9),
        of("rank 2", 4, true, 5, 12),
        of("instance norm", 7, false, 2, 5, 3, 7),
        of("layer-like, prime channels", 1, true, 3, 7, 13),
        of("group of 3 in 63 channels", 21, true, 1, 3, 1, 63),
        of("power of two plus one", 11, false, 1, 2, 4, 33),
        of("one panel", 16, true, 2, 2, 64),
        of("several panels", 48, true, 1, 2, 192),
        of("panels of whole lines", 16, true, 1, 3, 1, 96),
        of("group wider than a panel", 2, true, 1, 2, 152),
        of("group wider than a block of threads", 1, true, 2, 2, 1000),
        of("group wider than a block of threads, prime channels", 1, false, 1, 3, 401),
        of("panel larger than shared memory", 2, true, 1, 90, 80, 8),
        of("several blocks of positions", 2, true, 1, 9, 15, 4),
        of("parallel", 4, true, 8, 33, 8, 16),
        with("mean 1000", 2, true, Input.normal(1000, 1, Shape.of(2, 9, 8, 4)))
            .within(2e-4, 2e-5, "a mean of 1000 is rounded to 3e-5 in float32"),
        bf16("bf16", 4, false, 2, 3, 5, 12),
        bf16("bf16, silu", 4, true, 2, 3, 5, 12),
        bf16("bf16, parallel", 8, true, 4, 33, 8, 32));
  }

  private static Case of(String name, int groups, boolean silu, long... dims) {
    return with(name, groups, silu, Input.normal(dims));
  }

  private static Case bf16(String name, int groups, boolean silu, long... dims) {
    return with(name, groups, silu, Input.normal(dims).bf16())
        .within(1e-2, 1e-2, "output and gradients are rounded to 2^-8");
  }

  private static Case with(String name, int groups, boolean silu, Input x) {
    long channels = x.shape().last();
    return Case.of(
        name,
        new GroupNorm(groups, 1e-5, silu),
        x,
        Input.normal(1, 0.3, Shape.of(channels)),
        Input.normal(channels));
  }
}
