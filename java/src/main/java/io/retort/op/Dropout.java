package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `y_i = 0` with probability p, else `x_i / (1 - p)`.
///
/// Element i is dropped where number i of the key's stream is below p; the backward pass draws the
/// same numbers again, so nothing is saved. Source: Srivastava et al. 2014, scaled in training.
///
/// @param p probability of a zero, in [0, 1)
public record Dropout(double p, PhiloxKey key) implements Op {

  public Dropout {
    if (!(p >= 0 && p < 1)) {
      throw new IllegalArgumentException("dropout: p must be in [0, 1), got " + p);
    }
  }

  @Override
  public Shape infer(List<Shape> inputs) {
    return inputs.getFirst();
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    ElementTypes.floating(name(), inputs.getFirst());
    return List.of(drop(backend, scope, inputs.getFirst()));
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    return Collections.singletonList(saved.needs(0) ? drop(backend, scope, gradOut) : null);
  }

  private Tensor drop(Backend backend, Scope scope, Tensor x) {
    Tensor out = scope.allocate(x.shape(), x.dtype());
    backend.random().dropout(x, key, p, out);
    return out;
  }

  @Override
  public Op timeless() {
    return new Dropout(p, key.step(0));
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] out = inputs.getFirst().clone();
    for (int i = 0; i < out.length; i++) {
      out[i] = Philox.uniform(key, i) < (float) p ? 0 : out[i] / (1 - p);
    }
    return out;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double elements = inputs.getFirst().elements();
    return new Cost(40 * elements, 8 * elements);
  }

  public static List<Case> cases() {
    var key = new PhiloxKey(3, Purpose.DROPOUT, 5, 17);
    return List.of(
        Case.of("one element", new Dropout(0.5, key), Input.normal(1)),
        Case.of("prime", new Dropout(0.13, key), Input.normal(3, 7, 13)),
        Case.of("nothing dropped", new Dropout(0, key), Input.normal(37)),
        Case.of("nearly all dropped", new Dropout(0.9, key), Input.normal(257)),
        Case.of("parallel", new Dropout(0.1, key), Input.normal(5, 4099)),
        Case.of("bf16", new Dropout(0.13, key), Input.normal(5, 31).bf16())
            .within(1e-2, 1e-2, "the result is rounded to 2^-8"));
  }
}
