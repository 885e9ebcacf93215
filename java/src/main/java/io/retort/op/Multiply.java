package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `a b`, element by element, both of one shape and type.
///
/// Cost: two reads and one write; memory-bound. See [Broadcast] for different shapes.
public record Multiply() implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    return Add.same(name(), inputs);
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    DType dtype = ElementTypes.same(name(), inputs);
    return List.of(product(backend, scope, inputs.getFirst(), inputs.get(1), dtype));
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    List<@Nullable Tensor> gradients = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      Tensor other = saved.input(1 - i);
      gradients.add(saved.needs(i) ? product(backend, scope, gradOut, other, other.dtype()) : null);
    }
    return gradients;
  }

  private static Tensor product(Backend backend, Scope scope, Tensor a, Tensor b, DType dtype) {
    Tensor out = scope.allocate(a.shape(), dtype);
    backend.elementwise().multiply(a, b, out);
    return out;
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] out = new double[inputs.getFirst().length];
    for (int i = 0; i < out.length; i++) {
      out[i] = inputs.getFirst()[i] * inputs.get(1)[i];
    }
    return out;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double elements = inputs.getFirst().elements();
    return new Cost(elements, 12 * elements);
  }

  public static List<Case> cases() {
    return List.of(
        Case.of("one element", new Multiply(), Input.normal(1), Input.normal(1)),
        Case.of("prime", new Multiply(), Input.normal(3, 37), Input.normal(3, 37)),
        Case.of("tail", new Multiply(), Input.normal(65), Input.normal(65)),
        Case.of("mean 1000", new Multiply(), Input.normal(1000, 1, Shape.of(17)), Input.normal(17)),
        Case.of("bf16", new Multiply(), Input.normal(5, 7).bf16(), Input.normal(5, 7).bf16())
            .within(1e-2, 1e-2, "the result is rounded to 2^-8"));
  }
}
