package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// The same elements in the same order under another shape: a view, nothing is copied.
public record Reshape(Shape shape) implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    if (inputs.getFirst().elements() != shape.elements()) {
      throw new ShapeException(
          name() + ": " + shape + " must have as many elements as " + inputs.getFirst());
    }
    return shape;
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    return List.of(inputs.getFirst().view(scope, shape));
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    return Collections.singletonList(
        saved.needs(0) ? gradOut.view(scope, saved.input(0).shape()) : null);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    return inputs.getFirst().clone();
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    return new Cost(0, 0);
  }

  public static List<Case> cases() {
    return List.of(
        Case.of("flatten", new Reshape(Shape.of(2, 60)), Input.normal(2, 3, 4, 5)),
        Case.of("scalar", new Reshape(Shape.of()), Input.normal(1, 1)),
        Case.of("bf16", new Reshape(Shape.of(5, 1, 3)), Input.normal(15).bf16())
            .within(0, 4e-3, "nothing is computed; the incoming gradient is rounded to 2^-8"));
  }
}
