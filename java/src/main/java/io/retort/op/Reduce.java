package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// Sum or mean over some axes, which disappear; no axes means all of them, and the result is a
/// scalar.
///
/// The result is float32 also where the input is bfloat16: it is a statistic or a loss. Accumulated
/// in float64, the same bits on any number of threads. Cost: one read; memory-bound.
///
/// @param axes different axes, negative ones count from the end
public record Reduce(Kind kind, List<Integer> axes) implements Op {

  public enum Kind {
    SUM,
    MEAN
  }

  public Reduce {
    axes = List.copyOf(axes);
  }

  @Override
  public Shape infer(List<Shape> inputs) {
    Shape x = inputs.getFirst();
    AxisGroups.reduce(name(), x, axes);
    List<Long> kept = new ArrayList<>();
    for (int axis = 0; axis < x.rank(); axis++) {
      if (!drops(axis, x.rank())) {
        kept.add(x.dim(axis));
      }
    }
    return new Shape(kept.stream().mapToLong(Long::longValue).toArray());
  }

  private boolean drops(int axis, int rank) {
    return axes.isEmpty() || axes.contains(axis) || axes.contains(axis - rank);
  }

  @Override
  public DType dtype(List<Tensor> inputs) {
    return DType.F32;
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor x = inputs.getFirst();
    ElementTypes.floating(name(), x);
    AxisGroups groups = AxisGroups.reduce(name(), x.shape(), axes);
    Tensor out = scope.allocate(infer(List.of(x.shape())));
    backend.reductions().sum(groups, x, scale(groups), out);
    return List.of(out);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    if (!saved.needs(0)) {
      return Collections.singletonList(null);
    }
    Tensor x = saved.input(0);
    AxisGroups groups = AxisGroups.reduce(name(), x.shape(), axes);
    Tensor gradient = scope.allocate(x.shape(), x.dtype());
    backend.reductions().expand(groups, gradOut, scale(groups), gradient);
    return List.of(gradient);
  }

  private double scale(AxisGroups groups) {
    return kind == Kind.MEAN ? 1.0 / groups.dropped() : 1;
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] x = inputs.getFirst();
    Shape shape = shapes.getFirst();
    Shape kept = infer(shapes);
    double[] out = new double[Math.toIntExact(kept.elements())];
    for (int i = 0; i < x.length; i++) {
      out[target(i, shape)] += x[i];
    }
    double count = (double) x.length / out.length;
    for (int k = 0; kind == Kind.MEAN && k < out.length; k++) {
      out[k] /= count;
    }
    return out;
  }

  /// The output element that input element `index` is added to.
  private int target(int index, Shape shape) {
    long rest = index;
    long stride = 1;
    long target = 0;
    for (int axis = shape.rank() - 1; axis >= 0; axis--) {
      long coordinate = rest % shape.dim(axis);
      rest /= shape.dim(axis);
      if (!drops(axis, shape.rank())) {
        target += coordinate * stride;
        stride *= shape.dim(axis);
      }
    }
    return Math.toIntExact(target);
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double elements = inputs.getFirst().elements();
    return new Cost(elements, 4 * elements);
  }

  public static List<Case> cases() {
    var sum = new Reduce(Kind.SUM, List.of());
    var mean = new Reduce(Kind.MEAN, List.of());
    return List.of(
        Case.of("one element", sum, Input.normal(1)),
        Case.of("scalar", mean, Input.normal()),
        Case.of("all", mean, Input.normal(3, 5, 7, 2)),
        Case.of("all, odd", sum, Input.normal(131)),
        Case.of("last", new Reduce(Kind.SUM, List.of(-1)), Input.normal(5, 33)),
        Case.of("first", new Reduce(Kind.MEAN, List.of(0)), Input.normal(9, 33)),
        Case.of("narrow", new Reduce(Kind.SUM, List.of(0)), Input.normal(97, 3)),
        Case.of("wide", new Reduce(Kind.SUM, List.of(0)), Input.normal(2, 259)),
        Case.of("pixels", new Reduce(Kind.MEAN, List.of(1, 2)), Input.normal(3, 5, 4, 6)),
        Case.of("samples", new Reduce(Kind.SUM, List.of(1, 2, 3)), Input.normal(3, 5, 4, 3)),
        Case.of("alternating", new Reduce(Kind.SUM, List.of(0, 2, 4)), Input.normal(2, 3, 4, 3, 5)),
        Case.of("parallel rows", new Reduce(Kind.MEAN, List.of(0, 1)), Input.normal(67, 131, 32)),
        Case.of("parallel all", mean, Input.normal(263, 1021)),
        Case.of("mean 1000", mean, Input.normal(1000, 1, Shape.of(8, 31)))
            .within(1e-4, 1e-7, "accumulated in float64, one rounding of 1000 to float32"),
        Case.of("bf16", new Reduce(Kind.MEAN, List.of(0)), Input.normal(8, 17).bf16())
            .within(1e-4, 1e-5, "the output is float32; only the gradient is rounded to 2^-8")
            .gradientsWithin(100));
  }
}
