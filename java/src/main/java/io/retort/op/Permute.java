package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// Axes in another order: axis i of the result is axis `axes[i]` of the input. Copies.
///
/// @param axes every axis of the input once
public record Permute(List<Integer> axes) implements Op {

  public Permute {
    axes = List.copyOf(axes);
  }

  @Override
  public Shape infer(List<Shape> inputs) {
    Shape x = inputs.getFirst();
    long[] dims = new long[axes.size()];
    boolean valid = dims.length == x.rank();
    for (int i = 0; valid && i < dims.length; i++) {
      int axis = axes.get(i);
      valid = axis >= 0 && axis < dims.length && axes.indexOf(axis) == i;
      dims[i] = valid ? x.dim(axis) : 0;
    }
    if (!valid) {
      throw new ShapeException(
          name() + ": axes must name every axis of " + x + " once, got " + axes);
    }
    return new Shape(dims);
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor x = inputs.getFirst();
    Tensor out = scope.allocate(infer(List.of(x.shape())), x.dtype());
    backend.layouts().permute(x, axes, out);
    return List.of(out);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    if (!saved.needs(0)) {
      return Collections.singletonList(null);
    }
    Tensor gradient = scope.allocate(saved.input(0).shape(), gradOut.dtype());
    backend.layouts().permute(gradOut, inverse(), gradient);
    return List.of(gradient);
  }

  private List<Integer> inverse() {
    List<Integer> inverse = new ArrayList<>(axes.size());
    for (int axis = 0; axis < axes.size(); axis++) {
      inverse.add(axes.indexOf(axis));
    }
    return inverse;
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    Shape x = shapes.getFirst();
    Shape y = infer(shapes);
    double[] out = new double[inputs.getFirst().length];
    for (int i = 0; i < out.length; i++) {
      long[] coordinate = new long[x.rank()];
      long rest = i;
      for (int axis = y.rank() - 1; axis >= 0; axis--) {
        coordinate[axes.get(axis)] = rest % y.dim(axis);
        rest /= y.dim(axis);
      }
      long source = 0;
      for (int axis = 0; axis < x.rank(); axis++) {
        source = source * x.dim(axis) + coordinate[axis];
      }
      out[i] = inputs.getFirst()[Math.toIntExact(source)];
    }
    return out;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    return new Cost(0, 8.0 * inputs.getFirst().elements());
  }

  public static List<Case> cases() {
    return List.of(
        Case.of("one element", new Permute(List.of(0)), Input.normal(1)),
        Case.of("transpose", new Permute(List.of(1, 0)), Input.normal(7, 13)),
        Case.of("transpose tiles", new Permute(List.of(1, 0)), Input.normal(35, 67)),
        Case.of("channels first", new Permute(List.of(0, 3, 1, 2)), Input.normal(2, 3, 5, 7)),
        Case.of("channels last", new Permute(List.of(0, 2, 3, 1)), Input.normal(2, 7, 3, 5)),
        Case.of("rows kept", new Permute(List.of(1, 0, 2)), Input.normal(3, 5, 8)),
        Case.of("reversed", new Permute(List.of(3, 2, 1, 0)), Input.normal(2, 3, 4, 5)),
        Case.of("patches", new Permute(List.of(0, 1, 3, 2, 4, 5)), Input.normal(2, 2, 3, 2, 3, 2)),
        Case.of("parallel", new Permute(List.of(0, 2, 1)), Input.normal(65, 65, 67)),
        Case.of("bf16", new Permute(List.of(0, 3, 1, 2)), Input.normal(2, 3, 5, 3).bf16())
            .within(0, 4e-3, "values are moved; the incoming gradient is rounded to 2^-8"));
  }
}
