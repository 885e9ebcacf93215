package io.retort.optim;

import io.retort.grad.Parameters;
import io.retort.op.Backend;

/// Weights that move towards other weights: target networks, critics mixed with their student.
public final class WeightBlend {

  private WeightBlend() {}

  /// `moving = keep moving + (1 - keep) toward`, one pass over the arenas.
  public static void apply(Backend backend, Parameters moving, double keep, Parameters toward) {
    backend.elementwise().axpby(keep, moving.values(), 1 - keep, toward.values(), moving.values());
  }
}
