package io.retort.nn;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Linear;
import io.retort.tensor.Shape;

/// A linear layer: `name.weight` (out, in) and, if it has one, `name.bias` (out).
public record Dense(String name, int in, int out, boolean hasBias, Init weight, Init bias) {

  /// With bias and EDM's initial law: Xavier uniform, bias 0.
  public static Dense xavier(String name, int in, int out) {
    return new Dense(name, in, out, true, new Init.XavierUniform(1), new Init.Constant(0));
  }

  /// With bias and PyTorch's default initial law.
  public static Dense plain(String name, int in, int out) {
    Init init = new Init.FanIn(1, in);
    return new Dense(name, in, out, true, init, init);
  }

  /// The same layer without bias.
  public Dense withoutBias() {
    return new Dense(name, in, out, false, weight, bias);
  }

  public void declare(Plan plan) {
    plan.add(name + ".weight", Shape.of(out, in), weight);
    if (hasBias) {
      plan.add(name + ".bias", Shape.of(out), bias);
    }
  }

  /// x `(..., in)` to `(..., out)`.
  public Var apply(Tape tape, Parameters parameters, Var x) {
    Var w = tape.use(parameters.weight(name));
    return hasBias
        ? tape.apply(new Linear(), x, w, tape.use(parameters.bias(name)))
        : tape.apply(new Linear(), x, w);
  }
}
