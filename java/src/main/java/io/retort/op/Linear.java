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

/// `y_o = b_o + sum_i x_i w_oi`: a dense layer on the last axis.
///
/// Inputs x `(..., in)`, weight `(out, in)` float32 and, if wanted, bias `(out)` float32; output
/// `(..., out)`. bf16 rounds the weight for the product and sums in float32; weight and bias
/// gradients are float32. Cost: `2 rows in out` FLOP; compute-bound from about 64 rows on, below it
/// one read of the weight.
public record Linear() implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    Shape x = inputs.get(0);
    Shape weight = inputs.get(1);
    if (x.rank() < 1 || x.elements() == 0) {
      throw new ShapeException(name() + ": x must be (..., in) with every extent >= 1, got " + x);
    }
    if (weight.rank() != 2 || weight.dim(0) < 1 || weight.dim(1) != x.last()) {
      throw new ShapeException(
          name() + ": weight must be (out, " + x.last() + ") for x " + x + ", got " + weight);
    }
    if (inputs.size() > 2 && !inputs.get(2).equals(Shape.of(weight.dim(0)))) {
      throw new ShapeException(
          name() + ": bias must be (" + weight.dim(0) + "), got " + inputs.get(2));
    }
    return x.with(-1, weight.dim(0));
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor x = inputs.get(0);
    Tensor weight = inputs.get(1);
    DType type = ElementTypes.floating(name(), x);
    ElementTypes.weights(name(), inputs, 1);
    Tensor y = scope.allocate(x.shape().with(-1, weight.shape().dim(0)), type);
    backend.products().linear(x, weight, inputs.size() > 2 ? inputs.get(2) : null, y);
    return List.of(y);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    Tensor x = saved.input(0);
    Tensor weight = saved.input(1);
    @Nullable Tensor[] gradients = new @Nullable Tensor[saved.inputs().size()];
    if (saved.needs(0)) {
      Tensor gradX = scope.allocate(x.shape(), x.dtype());
      backend.products().linearDataGradient(gradOut, weight, gradX);
      gradients[0] = gradX;
    }
    if (saved.needs(1)) {
      Tensor gradWeight = saved.gradient(scope, 1);
      backend.products().linearWeightGradient(x, gradOut, gradWeight);
      gradients[1] = gradWeight;
    }
    if (gradients.length > 2 && saved.needs(2)) {
      Tensor gradBias = saved.gradient(scope, 2);
      backend.products().linearBiasGradient(gradOut, gradBias);
      gradients[2] = gradBias;
    }
    return Arrays.asList(gradients);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] x = inputs.get(0);
    double[] weight = inputs.get(1);
    int out = Math.toIntExact(shapes.get(1).dim(0));
    int in = Math.toIntExact(shapes.get(1).dim(1));
    double[] y = new double[x.length / in * out];
    for (int at = 0; at < y.length; at++) {
      double sum = inputs.size() > 2 ? inputs.get(2)[at % out] : 0;
      for (int i = 0; i < in; i++) {
        sum += x[at / out * in + i] * weight[at % out * in + i];
      }
      y[at] = sum;
    }
    return y;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double outputs = infer(inputs).elements();
    double read = inputs.get(0).elements() + inputs.get(1).elements();
    return new Cost(2 * outputs * inputs.get(0).last(), 4 * (read + outputs));
  }

  public static List<Case> cases() {
    return List.of(
        with("one number", Input.normal(1), 1),
        with("a vector without batch", Input.normal(17), 5),
        with("prime", Input.normal(3, 7), 11),
        with("several leading axes", Input.normal(2, 3, 2, 9), 4),
        with("power of two plus one", Input.normal(9, 33), 7),
        with("one output", Input.normal(31, 9), 1),
        with("rows side by side in the bias sum", Input.normal(70, 3), 2),
        Case.of("no bias", new Linear(), Input.normal(5, 8), Input.normal(6, 8)),
        with("mean 1000", Input.normal(1000, 1, Shape.of(5, 19)), 3)
            .within(1e-2, 1e-5, "products of 1000 cancel: 19 roundings of about 6e-5 each"),
        halved(with("bf16", Input.normal(6, 13).bf16(), 5)),
        halved(with("bf16, one row", Input.normal(1, 32).bf16(), 8)));
  }

  private static Case with(String name, Input x, long outputs) {
    return Case.of(
        name, new Linear(), x, Input.normal(outputs, x.shape().last()), Input.normal(outputs));
  }

  private static Case halved(Case contract) {
    return contract
        .within(
            5e-2, 1e-2, "weight and result rounded to 2^-8 in sums of up to 32 products of size 1")
        .gradientsWithin(1);
  }
}
