package io.retort.metrics;

import io.retort.data.Images;
import java.util.Arrays;
import java.util.Random;

/// Sliced 2-Wasserstein distance on pixels: `sqrt(mean over theta of W2^2(theta.x, theta.y))`.
///
/// Both sets are projected on random unit directions theta; in one dimension optimal transport
/// pairs the sorted values, `W2^2 = integral over q of (F_x^-1(q) - F_y^-1(q))^2`, exact also for
/// sets of different size. Source: Bonneel et al. 2015, section 3; Rabin et al. 2011.
///
/// Unit: levels 0..255 per pixel, root mean square. Since `E[(theta.v)^2] = |v|^2 / D`, a set
/// shifted by v is at a distance of the root mean square of v, whatever the image size. It needs no
/// network, so it sees contrast and texture that a classifier ignores. Bias: positive at finite n;
/// compare beside the floor.
///
/// Keeps the sorted projections of the reference set: `projections * count` floats.
public final class SlicedWasserstein {

  /// The number of directions of every published number.
  public static final int PROJECTIONS = 256;

  private final Images reference;
  private final PackedRows directions;
  private final float[][] sortedReference;

  /// @param reference the real images, at least one
  /// @param projections number of directions
  /// @param seed of the directions
  public SlicedWasserstein(Images reference, int projections, long seed) {
    requireImages(reference);
    this.reference = reference;
    this.directions = PackedRows.directions(projections, reference.imageSize(), new Random(seed));
    this.sortedReference = sortedProjections(reference);
  }

  /// The distance from the reference images, in root-mean-square levels (0..255) per pixel.
  ///
  /// Cost: `projections * n * D` multiply-adds and as many sorts as projections.
  ///
  /// @throws IllegalArgumentException if the images have another shape, or there are none
  public double distance(Images images) {
    requireImages(images);
    Subset.requireSameShape("sliced wasserstein", reference, images);
    float[][] sorted = sortedProjections(images);
    double sum = 0;
    for (int p = 0; p < sorted.length; p++) {
      sum += squaredTransport(sortedReference[p], sorted[p]);
    }
    return Math.sqrt(sum / sorted.length);
  }

  /// `W2^2` of two sorted samples: the squared gap of their quantile functions, integrated over
  /// 0..1.
  static double squaredTransport(float[] a, float[] b) {
    double sum = 0;
    double reached = 0;
    int i = 0;
    int j = 0;
    while (i < a.length && j < b.length) {
      long endA = (i + 1L) * b.length;
      long endB = (j + 1L) * a.length;
      double gap = (double) a[i] - b[j];
      double end = Math.min(endA, endB) / ((double) a.length * b.length);
      sum += (end - reached) * gap * gap;
      reached = end;
      i += endA <= endB ? 1 : 0;
      j += endB <= endA ? 1 : 0;
    }
    return sum;
  }

  private float[][] sortedProjections(Images images) {
    var projected = new float[directions.count()][images.count()];
    InnerProducts.forEach(
        PackedRows.ofPixels(images),
        directions,
        (row, column, columns, products, offset) -> {
          for (int j = 0; j < columns; j++) {
            projected[column + j][row] = products[offset + j];
          }
        });
    for (float[] line : projected) {
      Arrays.sort(line);
    }
    return projected;
  }

  private static void requireImages(Images images) {
    if (images.count() == 0) {
      throw new IllegalArgumentException("sliced wasserstein: images must be at least 1, got 0");
    }
  }
}
