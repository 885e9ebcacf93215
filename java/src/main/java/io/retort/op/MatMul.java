package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `c = op(a) op(b)`, matrix by matrix over equal leading axes; op transposes the last two axes or
/// does nothing.
///
/// Inputs a `(..., m, k)`, stored `(..., k, m)` if transposed, and b `(..., k, n)`, stored `(...,
/// n, k)` if transposed, of one type; output `(..., m, n)`. Sums are float32. Cost: `2 batch m n k`
/// FLOP.
public record MatMul(boolean transposeA, boolean transposeB) implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    Shape a = inputs.get(0);
    Shape b = inputs.get(1);
    if (a.rank() < 2 || b.rank() != a.rank() || a.elements() == 0 || b.elements() == 0) {
      throw new ShapeException(
          name()
              + ": a and b must be matrices with the same number of axes and every extent >= 1, got"
              + " "
              + a
              + " and "
              + b);
    }
    for (int axis = 0; axis < a.rank() - 2; axis++) {
      if (a.dim(axis) != b.dim(axis)) {
        throw new ShapeException(name() + ": leading axes must be equal, got " + a + " and " + b);
      }
    }
    if (a.dim(transposeA ? -2 : -1) != b.dim(transposeB ? -1 : -2)) {
      throw new ShapeException(
          name()
              + ": inner extents must be equal, got a "
              + a
              + transposed(transposeA)
              + " and b "
              + b
              + transposed(transposeB));
    }
    return a.with(-2, a.dim(transposeA ? -1 : -2)).with(-1, b.dim(transposeB ? -2 : -1));
  }

  private static String transposed(boolean flag) {
    return flag ? " transposed" : "";
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor a = inputs.get(0);
    Tensor b = inputs.get(1);
    Tensor c =
        scope.allocate(infer(List.of(a.shape(), b.shape())), ElementTypes.same(name(), inputs));
    backend.products().matmul(a, transposeA, b, transposeB, c);
    return List.of(c);
  }

  /// With A = op(a), B = op(b) and G the gradient of c: the gradient of A is `G B^T`, that of B is
  /// `A^T G`, each written in the layout its operand is stored in.
  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    Tensor a = saved.input(0);
    Tensor b = saved.input(1);
    Tensor gradA = saved.needs(0) ? saved.gradient(scope, 0) : null;
    Tensor gradB = saved.needs(1) ? saved.gradient(scope, 1) : null;
    ProductKernels products = backend.products();
    if (gradA != null && transposeA) {
      products.matmul(b, transposeB, gradOut, true, gradA);
    } else if (gradA != null) {
      products.matmul(gradOut, false, b, !transposeB, gradA);
    }
    if (gradB != null && transposeB) {
      products.matmul(gradOut, true, a, transposeA, gradB);
    } else if (gradB != null) {
      products.matmul(a, !transposeA, gradOut, false, gradB);
    }
    return Arrays.asList(gradA, gradB);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] a = inputs.get(0);
    double[] b = inputs.get(1);
    Shape out = infer(shapes);
    int m = Math.toIntExact(out.dim(-2));
    int n = Math.toIntExact(out.last());
    int k = Math.toIntExact(shapes.get(0).dim(transposeA ? -2 : -1));
    double[] c = new double[Math.toIntExact(out.elements())];
    for (int at = 0; at < c.length; at++) {
      int j = at % n;
      int i = at / n % m;
      int matrix = at / n / m;
      double sum = 0;
      for (int l = 0; l < k; l++) {
        double left = a[matrix * m * k + (transposeA ? l * m + i : i * k + l)];
        double right = b[matrix * k * n + (transposeB ? j * k + l : l * n + j)];
        sum += left * right;
      }
      c[at] = sum;
    }
    return c;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double outputs = infer(inputs).elements();
    double inner = inputs.get(0).dim(transposeA ? -2 : -1);
    return new Cost(
        2 * outputs * inner, 4 * (outputs + inputs.get(0).elements() + inputs.get(1).elements()));
  }

  public static List<Case> cases() {
    return List.of(
        Case.of("one number", new MatMul(false, false), Input.normal(1, 1), Input.normal(1, 1)),
        Case.of("prime", new MatMul(false, false), Input.normal(3, 7), Input.normal(7, 5)),
        Case.of("a transposed", new MatMul(true, false), Input.normal(7, 3), Input.normal(7, 5)),
        Case.of("b transposed", new MatMul(false, true), Input.normal(3, 7), Input.normal(5, 7)),
        Case.of("both transposed", new MatMul(true, true), Input.normal(7, 3), Input.normal(5, 7)),
        Case.of("batch", new MatMul(false, false), Input.normal(4, 3, 5), Input.normal(4, 5, 2)),
        Case.of(
            "two leading axes",
            new MatMul(false, true),
            Input.normal(2, 2, 3, 5),
            Input.normal(2, 2, 4, 5)),
        Case.of(
            "batch, both transposed",
            new MatMul(true, true),
            Input.normal(3, 5, 4),
            Input.normal(3, 2, 5)),
        Case.of("vectors", new MatMul(false, false), Input.normal(1, 65), Input.normal(65, 1)),
        Case.of(
            "outer product", new MatMul(false, false), Input.normal(17, 1), Input.normal(1, 15)),
        Case.of(
                "mean 1000",
                new MatMul(false, false),
                Input.normal(1000, 1, Shape.of(4, 9)),
                Input.normal(9, 5))
            .within(1e-2, 1e-5, "products of 1000 cancel: 9 roundings of about 6e-5 each"),
        halved("bf16", new MatMul(false, false), Input.normal(2, 5, 9), Input.normal(2, 9, 4)),
        halved(
            "bf16, both transposed",
            new MatMul(true, true),
            Input.normal(9, 5),
            Input.normal(4, 9)));
  }

  private static Case halved(String name, MatMul op, Input a, Input b) {
    return Case.of(name, op, a.bf16(), b.bf16())
        .within(1e-3, 1e-2, "sums in float32, the result and the incoming gradient rounded to 2^-8")
        .gradientsWithin(2);
  }
}
