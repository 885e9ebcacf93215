package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Norm;
import io.retort.nn.Plan;

/// Attention of an image's pixels to one another with a residual connection, as diffusers' U-Nets
/// have it: `y = (x + out(attention(q, k, v of norm(x)))) / divisor`.
///
/// @param groups of the norm, 0 for none
/// @param headWidth channels of a head
/// @param divisor of the sum of both branches
record SpatialAttention(
    String name, int channels, int headWidth, int groups, double eps, double divisor) {

  void declare(Plan plan) {
    if (groups > 0) {
      norm().declare(plan);
    }
    heads().declare(plan);
  }

  /// Images `(N, H, W, channels)` to the same shape.
  Var apply(Tape tape, Parameters parameters, Var x) {
    Var normed = groups > 0 ? norm().apply(tape, parameters, x) : x;
    Var mixed = heads().apply(tape, parameters, normed);
    return mixed.add(1 / divisor, x, 1 / divisor);
  }

  private MultiHead heads() {
    return new MultiHead(name, channels, channels / headWidth, headWidth, false, true);
  }

  private Norm norm() {
    return new Norm(name + ".group_norm", channels, groups, eps);
  }
}
