package io.retort.op;

import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `D = c_skip x + c_out f`: the denoised image from the noised one and the network's output.
///
/// Inputs: x `(N, ...)`, f as x, sigma `(N)` (no gradient). `c_skip = sd^2 / (sigma^2 + sd^2)`,
/// `c_out = sigma sd / sqrt(sigma^2 + sd^2)` with sd = sigmaData. Source: EDM, Karras et al. 2022,
/// eq. 7 and table 1.
public record EdmOutput(double sigmaData) implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    Samples.same(name(), inputs.subList(0, 2), inputs.getFirst());
    return Samples.check(name(), inputs.getFirst(), inputs.get(2));
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor out = scope.allocate(inputs.getFirst().shape());
    backend.scores().edmOutput(inputs.get(0), inputs.get(1), inputs.get(2), sigmaData, out);
    return List.of(out);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    Tensor dx = saved.needs(0) ? scope.allocate(gradOut.shape()) : null;
    Tensor df = saved.needs(1) ? scope.allocate(gradOut.shape()) : null;
    backend.scores().edmOutputBackward(gradOut, saved.input(2), sigmaData, dx, df);
    return Arrays.asList(dx, df, null);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] x = inputs.get(0);
    double[] out = new double[x.length];
    for (int i = 0; i < out.length; i++) {
      double sigma = Samples.of(inputs.get(2), i, x.length);
      double total = sigma * sigma + sigmaData * sigmaData;
      out[i] =
          sigmaData * sigmaData / total * x[i]
              + sigma * sigmaData / Math.sqrt(total) * inputs.get(1)[i];
    }
    return out;
  }

  @Override
  public boolean differentiable(int index) {
    return index < 2;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    long elements = inputs.getFirst().elements();
    return new Cost(3.0 * elements, 12.0 * elements);
  }

  public static List<Case> cases() {
    EdmOutput op = new EdmOutput(0.5);
    return List.of(
        Case.of(
            "one element",
            op,
            Case.Input.normal(1, 1),
            Case.Input.normal(1, 1),
            Case.Input.uniform(0.002, 80, 1)),
        Case.of(
            "prime",
            op,
            Case.Input.normal(3, 7, 5, 1),
            Case.Input.normal(3, 7, 5, 1),
            Case.Input.uniform(0.002, 3, 3)),
        Case.of(
            "sigma 80",
            op,
            Case.Input.normal(0, 80, Shape.of(2, 9)),
            Case.Input.normal(2, 9),
            Case.Input.uniform(79, 81, 2)));
  }
}
