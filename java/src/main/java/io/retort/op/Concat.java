package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// Tensors one after another along an axis; they differ in that extent only.
///
/// Any number of inputs from one on, of one type. Cost: one read and one write of everything.
///
/// @param axis not negative
public record Concat(int axis) implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    Shape first = inputs.getFirst();
    if (axis < 0 || axis >= first.rank()) {
      throw new ShapeException(name() + ": axis " + axis + " must be an axis of " + first);
    }
    long extent = 0;
    for (Shape shape : inputs) {
      if (shape.rank() != first.rank() || !shape.with(axis, first.dim(axis)).equals(first)) {
        throw new ShapeException(
            name() + ": inputs must differ along axis " + axis + " only, got " + inputs);
      }
      extent += shape.dim(axis);
    }
    return first.with(axis, extent);
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor first = inputs.getFirst();
    long extent = 0;
    for (Tensor input : inputs) {
      ElementTypes.require(name(), first.dtype(), input);
      extent += input.shape().dim(axis);
    }
    Tensor out = scope.allocate(first.shape().with(axis, extent), first.dtype());
    long at = 0;
    for (Tensor input : inputs) {
      backend.layouts().insert(input, axis, at, out);
      at += input.shape().dim(axis);
    }
    return List.of(out);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    List<@Nullable Tensor> gradients = new ArrayList<>();
    long at = 0;
    for (int i = 0; i < saved.inputs().size(); i++) {
      Shape shape = saved.input(i).shape();
      gradients.add(saved.needs(i) ? Slice.part(backend, scope, gradOut, axis, at, shape) : null);
      at += shape.dim(axis);
    }
    return gradients;
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    Shape shape = infer(shapes);
    double[] out = new double[Math.toIntExact(shape.elements())];
    long row = Slice.rowElements(shape, axis);
    long at = 0;
    for (int input = 0; input < inputs.size(); input++) {
      long width = Slice.rowElements(shapes.get(input), axis);
      for (int i = 0; i < inputs.get(input).length; i++) {
        out[Math.toIntExact(i / width * row + at + i % width)] = inputs.get(input)[i];
      }
      at += width;
    }
    return out;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double elements = inputs.stream().mapToLong(Shape::elements).sum();
    return new Cost(0, 8 * elements);
  }

  public static List<Case> cases() {
    var channels = new Concat(3);
    return List.of(
        Case.of("channels", channels, Input.normal(2, 3, 5, 7), Input.normal(2, 3, 5, 4)),
        Case.of(
            "three",
            channels,
            Input.normal(2, 1, 3, 1),
            Input.normal(2, 1, 3, 8),
            Input.normal(2, 1, 3, 3)),
        Case.of("one input", new Concat(0), Input.normal(1)),
        Case.of("batch", new Concat(0), Input.normal(2, 17), Input.normal(3, 17)),
        Case.of("middle", new Concat(1), Input.normal(3, 2, 5), Input.normal(3, 7, 5)),
        Case.of("parallel", channels, Input.normal(33, 32, 32, 8), Input.normal(33, 32, 32, 5)),
        Case.of("bf16", channels, Input.normal(2, 3, 5, 7).bf16(), Input.normal(2, 3, 5, 4).bf16())
            .within(0, 4e-3, "values are moved; the incoming gradient is rounded to 2^-8"));
  }
}
