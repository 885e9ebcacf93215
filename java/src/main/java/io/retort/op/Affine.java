package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `scale x + shift` with two numbers.
///
/// Cost: one read and one write; memory-bound.
public record Affine(double scale, double shift) implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    return inputs.getFirst();
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor x = inputs.getFirst();
    Tensor out = scope.allocate(x.shape(), ElementTypes.floating(name(), x));
    backend.elementwise().affine(x, scale, shift, out);
    return List.of(out);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    return Collections.singletonList(
        saved.needs(0) ? Add.scaled(backend, scope, scale, gradOut) : null);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] out = inputs.getFirst().clone();
    for (int i = 0; i < out.length; i++) {
      out[i] = scale * out[i] + shift;
    }
    return out;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double elements = inputs.getFirst().elements();
    return new Cost(2 * elements, 8 * elements);
  }

  public static List<Case> cases() {
    return List.of(
        Case.of("one element", new Affine(2, -1), Input.normal(1)),
        Case.of("shift only", new Affine(1, 3), Input.normal(7, 5)),
        Case.of("tail", new Affine(-0.5, 0), Input.normal(65)),
        Case.of("mean 1000", new Affine(1e-3, -1), Input.normal(1000, 1, Shape.of(33))),
        Case.of("bf16", new Affine(0.3, 0.1), Input.normal(5, 7).bf16())
            .within(1e-2, 1e-2, "the result is rounded to 2^-8"));
  }
}
