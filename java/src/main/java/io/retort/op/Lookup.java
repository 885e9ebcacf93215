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

/// Rows of a table: `y_i = table[ids_i]`.
///
/// Inputs table `(K, D)` float32 and ids int64 of any shape `S`; output `S + (D)`. The table's
/// gradient adds the rows of equal ids in order, the same bits on any number of threads. An id
/// outside `[0, K)` is refused.
public record Lookup() implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    Shape table = inputs.getFirst();
    if (table.rank() != 2) {
      throw new ShapeException(name() + ": table must be (K, D), got " + table);
    }
    long[] ids = inputs.get(1).dims();
    long[] out = Arrays.copyOf(ids, ids.length + 1);
    out[ids.length] = table.dim(1);
    return new Shape(out);
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor table = inputs.getFirst();
    Tensor ids = inputs.get(1);
    ElementTypes.require(name(), DType.F32, table);
    ElementTypes.require(name(), DType.I64, ids);
    Tensor out = scope.allocate(infer(List.of(table.shape(), ids.shape())));
    backend.embeddings().lookup(table, ids, out);
    return List.of(out);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    if (!saved.needs(0)) {
      return Arrays.asList(null, null);
    }
    Tensor gradient = saved.gradient(scope, 0);
    backend.embeddings().lookupGradient(saved.input(1), gradOut, gradient);
    return Arrays.asList(gradient, null);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] table = inputs.getFirst();
    double[] ids = inputs.get(1);
    int width = Math.toIntExact(shapes.getFirst().dim(1));
    double[] out = new double[ids.length * width];
    for (int i = 0; i < ids.length; i++) {
      System.arraycopy(table, (int) ids[i] * width, out, i * width, width);
    }
    return out;
  }

  @Override
  public boolean differentiable(int index) {
    return index == 0;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    return new Cost(0, 8.0 * infer(inputs).elements() + 8.0 * inputs.get(1).elements());
  }

  public static List<Case> cases() {
    return List.of(
        Case.of("one", new Lookup(), Input.normal(1, 1), Input.integers(1, 1)),
        Case.of("labels", new Lookup(), Input.normal(10, 7), Input.integers(10, 13)),
        Case.of("repeated", new Lookup(), Input.normal(3, 5), Input.integers(2, 31)),
        Case.of("any shape of ids", new Lookup(), Input.normal(6, 3), Input.integers(6, 2, 5)),
        Case.of("parallel", new Lookup(), Input.normal(11, 257), Input.integers(11, 1051)));
  }
}
