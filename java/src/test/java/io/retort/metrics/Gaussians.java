package io.retort.metrics;

import java.util.Random;

/// Seeded Gaussian feature vectors for the tests of this package.
final class Gaussians {
  private Gaussians() {}

  static float[][] standard(int n, int d, long seed) {
    return affine(n, d, 0, 1, seed);
  }

  /// `shift + scale * normal` in every coordinate.
  static float[][] affine(int n, int d, double shift, double scale, long seed) {
    var random = new Random(seed);
    var rows = new float[n][d];
    for (float[] row : rows) {
      for (int k = 0; k < d; k++) {
        row[k] = (float) (shift + scale * random.nextGaussian());
      }
    }
    return rows;
  }
}
