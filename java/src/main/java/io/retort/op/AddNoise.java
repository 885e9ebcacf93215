package io.retort.op;

import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `x + sigma_n * eps` with eps standard normal: element i is normal i of the key's stream.
///
/// Inputs: x `(N, ...)`, sigma `(N)` (no gradient). Cost: one read and one write of x and the
/// random numbers. Source: EDM, Karras et al. 2022, section 5.
public record AddNoise(PhiloxKey key) implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    return Samples.check(name(), inputs.getFirst(), inputs.get(1));
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor out = scope.allocate(inputs.getFirst().shape());
    backend.scores().addNoise(inputs.getFirst(), inputs.get(1), key, out);
    return List.of(out);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    return Arrays.asList(gradOut.view(scope, gradOut.shape()), null);
  }

  @Override
  public Op timeless() {
    return new AddNoise(key.step(0));
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] x = inputs.getFirst();
    double[] out = new double[x.length];
    for (int i = 0; i < out.length; i++) {
      out[i] = x[i] + Samples.of(inputs.get(1), i, x.length) * Philox.normal(key, i);
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
    return new Cost(2.0 * elements, 8.0 * elements);
  }

  public static List<Case> cases() {
    PhiloxKey key = new PhiloxKey(7, Purpose.NOISE, 3, 11);
    return List.of(
        Case.of(
            "one element", new AddNoise(key), Case.Input.normal(1, 1), Case.Input.uniform(0, 9, 1)),
        Case.of(
            "prime", new AddNoise(key), Case.Input.normal(3, 7, 5, 1), Case.Input.uniform(0, 9, 3)),
        Case.of(
                "large sigma",
                new AddNoise(key),
                Case.Input.normal(2, 4, 4, 3),
                Case.Input.uniform(70, 80, 2))
            .within(1e-4, 1e-5, "normals agree to 2e-6, times sigma 80"));
  }
}
