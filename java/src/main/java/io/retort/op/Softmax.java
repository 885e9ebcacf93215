package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `y_i = e^(x_i) / sum_j e^(x_j)` over the last axis.
///
/// Shapes: x, y `(..., K)`, F32 or BF16. The largest x is taken off first, so no exponential
/// overflows. Cost: one read and one write of x; bound by the exponentials.
public record Softmax() implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    Shape x = inputs.getFirst();
    if (x.rank() < 1 || x.elements() == 0) {
      throw new ShapeException(name() + ": x must be (..., K) with every extent >= 1, got " + x);
    }
    return x;
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor x = inputs.getFirst();
    Tensor y = scope.allocate(x.shape(), ElementTypes.floating(name(), x));
    backend.softmax().softmax(x, y);
    return List.of(y);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    if (!saved.needs(0)) {
      return Collections.singletonList(null);
    }
    Tensor gradX = scope.allocate(gradOut.shape(), gradOut.dtype());
    backend.softmax().softmaxGradient(saved.output(), gradOut, gradX);
    return List.of(gradX);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] x = inputs.getFirst();
    int classes = Math.toIntExact(shapes.getFirst().last());
    double[] y = new double[x.length];
    for (int row = 0; row < x.length; row += classes) {
      double largest = Arrays.stream(x, row, row + classes).max().orElse(0);
      double sum = Arrays.stream(x, row, row + classes).map(v -> Math.exp(v - largest)).sum();
      for (int i = row; i < row + classes; i++) {
        y[i] = Math.exp(x[i] - largest) / sum;
      }
    }
    return y;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double elements = inputs.getFirst().elements();
    return new Cost(40 * elements, 8 * elements);
  }

  public static List<Case> cases() {
    return List.of(
        with("one class", Input.normal(3, 1)),
        with("a vector without batch", Input.normal(11)),
        with("prime", Input.normal(2, 3, 13)),
        with("power of two minus one", Input.normal(5, 31)),
        with("power of two plus one", Input.normal(3, 65)),
        with("parallel", Input.normal(331, 101)),
        with("far apart", Input.normal(0, 60, Shape.of(4, 19))),
        with("mean 1000", Input.normal(1000, 1, Shape.of(5, 17))),
        with("bf16", Input.normal(5, 23).bf16())
            .within(1e-3, 1e-2, "output rounded to 2^-8")
            .gradientsWithin(2));
  }

  private static Case with(String name, Input x) {
    return Case.of(name, new Softmax(), x);
  }
}
