package io.retort.net;

import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.tensor.Shape;
import java.util.Arrays;

/// Layer norms without scale and shift of their own: one pair of constants for all of a pass.
record PlainNorm(Var ones, Var zeros) {

  /// For tokens of that width.
  static PlainNorm of(Tape tape, int width) {
    float[] ones = new float[width];
    Arrays.fill(ones, 1);
    Shape shape = Shape.of(width);
    return new PlainNorm(tape.constant(shape, ones), tape.constant(shape, new float[width]));
  }

  /// x `(..., width)` normalised over the last axis.
  Var apply(Var x, double eps) {
    return x.layerNorm(ones, zeros, eps);
  }
}
