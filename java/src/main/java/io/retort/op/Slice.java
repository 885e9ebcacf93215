package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// The places `begin` to `end - 1` along an axis.
///
/// A view without a copy where the places are contiguous (the first axis, or only extents of 1
/// before it). The gradient is zero elsewhere.
///
/// @param axis not negative
public record Slice(int axis, long begin, long end) implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    Shape x = inputs.getFirst();
    if (axis < 0 || axis >= x.rank()) {
      throw new ShapeException(name() + ": axis " + axis + " must be an axis of " + x);
    }
    if (begin < 0 || end < begin || end > x.dim(axis)) {
      throw new ShapeException(
          name() + ": [" + begin + ", " + end + ") must lie in axis " + axis + " of " + x);
    }
    return x.with(axis, end - begin);
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor x = inputs.getFirst();
    return List.of(part(backend, scope, x, axis, begin, infer(List.of(x.shape()))));
  }

  /// A view where the part is contiguous, else a copy.
  static Tensor part(Backend backend, Scope scope, Tensor x, int axis, long begin, Shape shape) {
    long row = rowElements(x.shape(), axis);
    if (row == x.elements()) {
      return x.view(scope, shape, row == 0 ? 0 : begin * (row / x.shape().dim(axis)));
    }
    Tensor out = scope.allocate(shape, x.dtype());
    backend.layouts().slice(x, axis, begin, out);
    return out;
  }

  /// Elements of an axis and all after it: what one step of the axes before it passes.
  static long rowElements(Shape shape, int axis) {
    long product = 1;
    for (int i = axis; i < shape.rank(); i++) {
      product *= shape.dim(i);
    }
    return product;
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    if (!saved.needs(0)) {
      return Collections.singletonList(null);
    }
    Tensor gradient = scope.allocate(saved.input(0).shape(), gradOut.dtype());
    backend.layouts().unslice(gradOut, axis, begin, gradient);
    return List.of(gradient);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    Shape out = infer(shapes);
    long row = rowElements(shapes.getFirst(), axis);
    long width = rowElements(out, axis);
    long first = begin * (row / shapes.getFirst().dim(axis));
    double[] values = new double[Math.toIntExact(out.elements())];
    for (int i = 0; i < values.length; i++) {
      values[i] = inputs.getFirst()[Math.toIntExact(i / width * row + first + i % width)];
    }
    return values;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    return new Cost(0, 8.0 * infer(inputs).elements());
  }

  public static List<Case> cases() {
    return List.of(
        Case.of("channels", new Slice(3, 2, 5), Input.normal(2, 3, 5, 7)),
        Case.of("batch", new Slice(0, 1, 3), Input.normal(4, 17)),
        Case.of("middle", new Slice(1, 1, 4), Input.normal(3, 5, 3)),
        Case.of("first one", new Slice(2, 0, 1), Input.normal(3, 5, 9)),
        Case.of("last one", new Slice(2, 8, 9), Input.normal(3, 5, 9)),
        Case.of("everything", new Slice(1, 0, 33), Input.normal(3, 33)),
        Case.of("parallel", new Slice(2, 3, 40), Input.normal(257, 32, 48)),
        Case.of("bf16", new Slice(1, 1, 4), Input.normal(3, 5, 3).bf16())
            .within(0, 4e-3, "values are moved; the incoming gradient is rounded to 2^-8"));
  }
}
