package io.retort.nn;

import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Shape;

/// Fixed positions of a square grid of tokens, row by row: sines and cosines of the column in the
/// first half of a token's channels, of the row in the second.
///
/// `omega_k = 10000^(-k / (width / 4))`, in each half the sines first. Source: Vaswani et al. 2017,
/// section 3.5, in two dimensions as MAE (He et al. 2022) and DiT have it.
///
/// @param side tokens along a side
public record SinCosPositions(int side) implements Init {
  private static final double MAX_PERIOD = 10000;

  @Override
  public float[] values(Shape shape, PhiloxKey key) {
    return table(side, Math.toIntExact(shape.last()));
  }

  /// `(side side, width)`, row-major; the width is a multiple of 4.
  public static float[] table(int side, int width) {
    float[] table = new float[side * side * width];
    int quarter = width / 4;
    for (int token = 0; token < side * side; token++) {
      int[] coordinates = {token % side, token / side};
      for (int half = 0; half < 2; half++) {
        int from = token * width + half * 2 * quarter;
        for (int k = 0; k < quarter; k++) {
          double angle = coordinates[half] * Math.pow(MAX_PERIOD, -(double) k / quarter);
          table[from + k] = (float) Math.sin(angle);
          table[from + quarter + k] = (float) Math.cos(angle);
        }
      }
    }
    return table;
  }
}
