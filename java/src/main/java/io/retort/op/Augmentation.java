package io.retort.op;

/// One drawn transformation, applied to every image of a batch alike.
public sealed interface Augmentation {

  /// `y = contrast (saturation (x - m) + m - M) + M + brightness`, m the mean over the channels of
  /// the pixel, M the mean of the image. On grey images saturation changes nothing.
  record Color(double brightness, double saturation, double contrast) implements Augmentation {}

  /// `y(v, u) = x` sampled bilinearly at column `a00 u + a01 v + a02` and row `a10 u + a11 v +
  /// a12`, `fill` outside.
  ///
  /// Coordinates run from -1 to 1 between the outer edges of the image, as in `affine_grid` without
  /// aligned corners.
  record Warp(double a00, double a01, double a02, double a10, double a11, double a12)
      implements Augmentation {

    /// The same map between pixel indices, whose centres are whole numbers.
    public Warp inPixels(long height, long width) {
      double h = height / 2.0;
      double w = width / 2.0;
      double skewColumn = a01 * w / h;
      double skewRow = a10 * h / w;
      return new Warp(
          a00,
          skewColumn,
          (a02 + 1) * w - 0.5 - a00 * (w - 0.5) - skewColumn * (h - 0.5),
          skewRow,
          a11,
          (a12 + 1) * h - 0.5 - skewRow * (w - 0.5) - a11 * (h - 0.5));
    }
  }

  /// `fill` in rows `[top, bottom)` and columns `[left, right)`.
  record Cutout(long top, long left, long bottom, long right) implements Augmentation {}
}
