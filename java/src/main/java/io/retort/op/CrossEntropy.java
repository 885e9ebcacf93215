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

/// `1/N sum_n (log sum_k e^(x_nk) - x_n,label_n)`: mean cross-entropy of labels under the softmax
/// of logits.
///
/// Inputs logits `(N, K)` F32 or BF16 and labels `(N)` int64 in `[0, K)`; output a float32 scalar.
/// Saved: the probabilities, `(N, K)` float32. A label out of range is refused with its row.
public record CrossEntropy() implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    Shape logits = inputs.get(0);
    Shape labels = inputs.get(1);
    if (logits.rank() != 2 || logits.elements() == 0) {
      throw new ShapeException(name() + ": logits must be (N, K) with N, K >= 1, got " + logits);
    }
    if (!labels.equals(Shape.of(logits.dim(0)))) {
      throw new ShapeException(name() + ": labels must be (" + logits.dim(0) + "), got " + labels);
    }
    return Shape.of();
  }

  @Override
  public DType dtype(List<Tensor> inputs) {
    return DType.F32;
  }

  @Override
  public boolean differentiable(int index) {
    return index == 0;
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor logits = inputs.get(0);
    Tensor labels = inputs.get(1);
    ElementTypes.floating(name(), logits);
    ElementTypes.require(name(), DType.I64, labels);
    Tensor loss = scope.allocate(Shape.of());
    Tensor probabilities = scope.allocate(logits.shape());
    backend.softmax().crossEntropy(logits, labels, loss, probabilities);
    return List.of(loss, probabilities);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    if (!saved.needs(0)) {
      return Arrays.asList(null, null);
    }
    Tensor logits = saved.input(0);
    Tensor gradLogits = scope.allocate(logits.shape(), logits.dtype());
    backend.softmax().crossEntropyGradient(saved.extra(0), saved.input(1), gradOut, gradLogits);
    return Arrays.asList(gradLogits, null);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] x = inputs.get(0);
    double[] labels = inputs.get(1);
    int classes = Math.toIntExact(shapes.get(0).dim(1));
    double total = 0;
    for (int n = 0; n < labels.length; n++) {
      int row = n * classes;
      double largest = Arrays.stream(x, row, row + classes).max().orElse(0);
      double sum = Arrays.stream(x, row, row + classes).map(v -> Math.exp(v - largest)).sum();
      total += largest + Math.log(sum) - x[row + (int) labels[n]];
    }
    return new double[] {total / labels.length};
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double elements = inputs.get(0).elements();
    return new Cost(40 * elements, 8 * elements);
  }

  public static List<Case> cases() {
    return List.of(
        with("one class", Input.normal(3, 1)),
        with("one row", Input.normal(1, 10)),
        with("prime", Input.normal(7, 13)),
        with("power of two plus one", Input.normal(3, 65)),
        with("far apart", Input.normal(0, 40, Shape.of(5, 11))),
        with("mean 1000", Input.normal(1000, 1, Shape.of(5, 17))),
        with("parallel", Input.normal(331, 101)),
        with("bf16", Input.normal(5, 23).bf16())
            .within(1e-5, 1e-5, "the loss is computed in float32 from exact logits")
            .gradientsWithin(500));
  }

  private static Case with(String name, Input logits) {
    return Case.of(
        name,
        new CrossEntropy(),
        logits,
        Input.integers(logits.shape().last(), logits.shape().dim(0)));
  }
}
