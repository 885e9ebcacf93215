package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `y = (x - mean) / sqrt(var + eps) * gamma_c + beta_c`, statistics over the last axis.
///
/// Inputs: x `(..., C)` float32 or bfloat16, gamma and beta `(C)` float32. Saved: mean, rstd of
/// every row. Cost: one read and one write of x; memory-bound. Source: Ba, Kiros & Hinton 2016, eq.
/// 3-4.
///
/// @param eps added to the variance
public record LayerNorm(double eps) implements Op {

  public LayerNorm {
    if (!(eps >= 0)) {
      throw new IllegalArgumentException("layer_norm: eps must be >= 0, got " + eps);
    }
  }

  @Override
  public Shape infer(List<Shape> inputs) {
    Shape x = inputs.getFirst();
    if (x.rank() < 1 || x.elements() == 0) {
      throw new ShapeException("layer_norm: x must be (..., C) and not empty, got " + x);
    }
    return GroupNorm.scaled(name(), inputs);
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor x = inputs.getFirst();
    ElementTypes.floating(name(), x);
    ElementTypes.weights(name(), inputs, 1);
    Tensor y = scope.allocate(x.shape(), x.dtype());
    Tensor mean = scope.allocate(Shape.of(x.elements() / x.shape().last()));
    Tensor rstd = scope.allocate(mean.shape());
    backend.norms().layerNorm(eps, x, inputs.get(1), inputs.get(2), y, mean, rstd);
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
        .layerNormGradient(
            saved.input(0),
            gradOut,
            saved.input(1),
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
    int channels = (int) shapes.getFirst().last();
    double[] y = new double[x.length];
    for (int row = 0; row < x.length; row += channels) {
      double mean = Arrays.stream(x, row, row + channels).average().orElse(0);
      double variance =
          Arrays.stream(x, row, row + channels)
              .map(v -> (v - mean) * (v - mean))
              .average()
              .orElse(0);
      for (int c = 0; c < channels; c++) {
        double normalised = (x[row + c] - mean) / Math.sqrt(variance + eps);
        y[row + c] = normalised * inputs.get(1)[c] + inputs.get(2)[c];
      }
    }
    return y;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double elements = inputs.getFirst().elements();
    return new Cost(8 * elements, 8 * elements);
  }

  public static List<Case> cases() {
    return List.of(
        with("one element", Input.normal(1)),
        with("one row", Input.normal(17)),
        with("prime", Input.normal(3, 5, 13)),
        with("power of two minus one", Input.normal(4, 63)),
        with("power of two plus one", Input.normal(2, 129)),
        with("several chunks of rows", Input.normal(131, 2)),
        with("parallel", Input.normal(520, 67)),
        with("row of a block of threads", Input.normal(3, 700)),
        with("row wider than registers", Input.normal(3, 2500)),
        with("mean 1000", Input.normal(1000, 1, Shape.of(5, 48)))
            .within(2e-4, 2e-5, "a mean of 1000 is rounded to 3e-5 in float32"),
        with("bf16", Input.normal(7, 37).bf16())
            .within(1e-2, 1e-2, "output and gradients are rounded to 2^-8"));
  }

  private static Case with(String name, Input x) {
    long channels = x.shape().last();
    return Case.of(
        name,
        new LayerNorm(1e-5),
        x,
        Input.normal(1, 0.3, Shape.of(channels)),
        Input.normal(channels));
  }
}
