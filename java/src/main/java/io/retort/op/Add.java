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

/// `alpha a + beta b`, both of one shape and type.
///
/// Cost: two reads and one write; memory-bound. See [Broadcast] for different shapes.
public record Add(double alpha, double beta) implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    return same(name(), inputs);
  }

  static Shape same(String op, List<Shape> inputs) {
    Shape a = inputs.getFirst();
    Shape b = inputs.get(1);
    if (!a.equals(b)) {
      throw new ShapeException(op + ": both inputs must have one shape, got " + a + " and " + b);
    }
    return a;
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    DType dtype = ElementTypes.same(name(), inputs);
    Tensor out = scope.allocate(inputs.getFirst().shape(), dtype);
    backend.elementwise().axpby(alpha, inputs.getFirst(), beta, inputs.get(1), out);
    return List.of(out);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    Tensor first = saved.needs(0) ? scaled(backend, scope, alpha, gradOut) : null;
    if (!saved.needs(1)) {
      return Arrays.asList(first, null);
    }
    Tensor second =
        first != null && alpha == beta
            ? first.view(scope, first.shape())
            : scaled(backend, scope, beta, gradOut);
    return Arrays.asList(first, second);
  }

  /// `factor gradOut`, a view where the factor is 1.
  static Tensor scaled(Backend backend, Scope scope, double factor, Tensor gradOut) {
    if (factor == 1) {
      return gradOut.view(scope, gradOut.shape());
    }
    Tensor gradient = scope.allocate(gradOut.shape(), gradOut.dtype());
    backend.elementwise().affine(gradOut, factor, 0, gradient);
    return gradient;
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] out = new double[inputs.getFirst().length];
    for (int i = 0; i < out.length; i++) {
      out[i] = alpha * inputs.getFirst()[i] + beta * inputs.get(1)[i];
    }
    return out;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double elements = inputs.getFirst().elements();
    return new Cost(3 * elements, 12 * elements);
  }

  public static List<Case> cases() {
    return List.of(
        Case.of("one element", new Add(1, 1), Input.normal(1), Input.normal(1)),
        Case.of("scalars", new Add(1, 1), Input.normal(), Input.normal()),
        Case.of("prime", new Add(1, -1), Input.normal(3, 37), Input.normal(3, 37)),
        Case.of("tail", new Add(0.5, 2), Input.normal(65), Input.normal(65)),
        Case.of("equal factors", new Add(0.7, 0.7), Input.normal(5, 7), Input.normal(5, 7)),
        Case.of("parallel", new Add(1, 2), Input.normal(263, 1009), Input.normal(263, 1009)),
        Case.of(
                "mean 1000",
                new Add(1, -1),
                Input.normal(1000, 1, Shape.of(33)),
                Input.normal(1000, 1, Shape.of(33)))
            .within(2e-4, 1e-5, "the inputs are exact, the difference has an error below 2^-13"),
        Case.of("bf16", new Add(0.7, 0.3), Input.normal(5, 7).bf16(), Input.normal(5, 7).bf16())
            .within(1e-2, 1e-2, "the result is rounded to 2^-8"));
  }
}
