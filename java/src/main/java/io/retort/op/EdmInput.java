package io.retort.op;

import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `c_in x = x / sqrt(sigmaData^2 + sigma^2)`: what the network inside an EDM denoiser sees.
///
/// Inputs: x `(N, ...)`, sigma `(N)` (no gradient). Source: EDM, Karras et al. 2022, table 1.
public record EdmInput(double sigmaData) implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    return Samples.check(name(), inputs.getFirst(), inputs.get(1));
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    return List.of(scaled(backend, scope, inputs.getFirst(), inputs.get(1)));
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    return Arrays.asList(scaled(backend, scope, gradOut, saved.input(1)), null);
  }

  private Tensor scaled(Backend backend, Scope scope, Tensor x, Tensor sigma) {
    Tensor out = scope.allocate(x.shape());
    backend.scores().edmInput(x, sigma, sigmaData, out);
    return out;
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] x = inputs.getFirst();
    double[] out = new double[x.length];
    for (int i = 0; i < out.length; i++) {
      out[i] = x[i] / Math.hypot(sigmaData, Samples.of(inputs.get(1), i, x.length));
    }
    return out;
  }

  @Override
  public boolean differentiable(int index) {
    return index == 0;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    long elements = inputs.getFirst().elements();
    return new Cost(elements, 8.0 * elements);
  }

  public static List<Case> cases() {
    EdmInput op = new EdmInput(0.5);
    return List.of(
        Case.of("one element", op, Case.Input.normal(1, 1), Case.Input.uniform(0.002, 80, 1)),
        Case.of("prime", op, Case.Input.normal(3, 7, 5, 1), Case.Input.uniform(0.002, 80, 3)),
        Case.of("small sigma", op, Case.Input.normal(4, 9), Case.Input.uniform(0.002, 0.003, 4)));
  }
}
