package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// The same values in another floating type, rounded to nearest even.
///
/// The gradient is rounded to the input's type; a cast to the type a tensor already has is a view.
public record Cast(DType target) implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    return inputs.getFirst();
  }

  @Override
  public DType dtype(List<Tensor> inputs) {
    return target;
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    ElementTypes.floating(name(), inputs.getFirst());
    return List.of(cast(backend, scope, inputs.getFirst(), target));
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    return Collections.singletonList(
        saved.needs(0) ? cast(backend, scope, gradOut, saved.input(0).dtype()) : null);
  }

  private static Tensor cast(Backend backend, Scope scope, Tensor x, DType target) {
    if (x.dtype() == target) {
      return x.view(scope, x.shape());
    }
    Tensor out = scope.allocate(x.shape(), target);
    backend.elementwise().cast(x, out);
    return out;
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    return inputs.getFirst().clone();
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double elements = inputs.getFirst().elements();
    return new Cost(0, 6 * elements);
  }

  public static List<Case> cases() {
    String why = "bfloat16 keeps 8 bits";
    return List.of(
        Case.of("to bf16", new Cast(DType.BF16), Input.normal(5, 13)).within(0, 0.00391, why),
        Case.of("from bf16", new Cast(DType.F32), Input.normal(5, 13).bf16())
            .within(0, 0.00391, why),
        Case.of("mean 1000", new Cast(DType.BF16), Input.normal(1000, 1, Shape.of(33)))
            .within(0, 0.00391, why),
        Case.of("to the same", new Cast(DType.F32), Input.normal(1)));
  }
}
