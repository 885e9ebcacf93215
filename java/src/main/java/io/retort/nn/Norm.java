package io.retort.nn;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.GroupNorm;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;

/// Group normalisation with scale and shift: `name.weight` (C), `name.bias` (C).
public record Norm(String name, int channels, int groups, double eps) {

  public Norm {
    if (groups < 1 || channels % groups != 0) {
      throw new ShapeException(
          "norm: %s has %d channels, which must be a multiple of its %d groups (at least 4 channels, and above 128 a multiple of 32)"
              .formatted(name, channels, groups));
    }
  }

  /// EDM's choice of groups: at least 4 channels each, at most 32 groups.
  public static Norm edm(String name, int channels, double eps) {
    return new Norm(name, channels, Math.min(32, channels / 4), eps);
  }

  public void declare(Plan plan) {
    plan.add(name + ".weight", Shape.of(channels), new Init.Constant(1));
    plan.add(name + ".bias", Shape.of(channels), new Init.Constant(0));
  }

  /// Normalised x.
  public Var apply(Tape tape, Parameters parameters, Var x) {
    return apply(tape, parameters, x, false);
  }

  /// `silu(normalised x)` in one pass.
  public Var silu(Tape tape, Parameters parameters, Var x) {
    return apply(tape, parameters, x, true);
  }

  private Var apply(Tape tape, Parameters parameters, Var x, boolean silu) {
    return tape.apply(
        new GroupNorm(groups, eps, silu),
        x,
        tape.use(parameters.weight(name)),
        tape.use(parameters.bias(name)));
  }
}
