package io.retort.metrics;

import io.retort.data.Images;
import java.util.Random;

/// Vectors laid out for [InnerProducts]: float32 rows, zero-padded to an even number of rows and a
/// length that is a multiple of four, with their squared norms.
///
/// The norms are summed in the order in which [InnerProducts] sums, so that the squared distance
/// `|x|^2 + |y|^2 - 2 x.y` of two equal vectors is exactly zero and duplicates are recognised.
final class PackedRows {

  private final int count;
  private final int stride;
  private final float[] values;

  private PackedRows(int count, int length) {
    this.count = count;
    this.stride = (length + 3) / 4 * 4;
    this.values = new float[Math.multiplyExact(count + count % 2, stride)];
  }

  static PackedRows of(float[][] rows) {
    return centred(rows, new double[rows.length == 0 ? 0 : rows[0].length]);
  }

  /// The rows minus `centre`: distances are the same, rounding is smaller when the rows share a
  /// mean.
  static PackedRows centred(float[][] rows, double[] centre) {
    var packed = new PackedRows(rows.length, centre.length);
    for (int i = 0; i < rows.length; i++) {
      if (rows[i].length != centre.length) {
        throw new IllegalArgumentException(
            "metrics: every vector must have length %d, got %d"
                .formatted(centre.length, rows[i].length));
      }
      for (int k = 0; k < centre.length; k++) {
        packed.values[i * packed.stride + k] = (float) (rows[i][k] - centre[k]);
      }
    }
    return packed;
  }

  /// `count` random directions on the unit sphere of this dimension.
  static PackedRows directions(int count, int dimension, Random random) {
    var packed = new PackedRows(count, dimension);
    var direction = new double[dimension];
    for (int i = 0; i < count; i++) {
      double squared = 0;
      for (int k = 0; k < dimension; k++) {
        direction[k] = random.nextGaussian();
        squared += direction[k] * direction[k];
      }
      for (int k = 0; k < dimension; k++) {
        packed.values[i * packed.stride + k] = (float) (direction[k] / Math.sqrt(squared));
      }
    }
    return packed;
  }

  /// The pixel levels 0..255 of each image, minus 127.5.
  static PackedRows ofPixels(Images images) {
    int size = images.imageSize();
    var packed = new PackedRows(images.count(), size);
    for (int i = 0; i < images.count(); i++) {
      for (int k = 0; k < size; k++) {
        packed.values[i * packed.stride + k] = (images.pixels()[i * size + k] & 0xff) - 127.5f;
      }
    }
    return packed;
  }

  int count() {
    return count;
  }

  /// Length of a row, a multiple of four.
  int stride() {
    return stride;
  }

  /// All rows, one after the other; entries of row i start at `i * stride()`.
  float[] values() {
    return values;
  }

  /// `|x_i|^2`, bit for bit what [InnerProducts] gives for `x_i . x_i`.
  float[] squaredNorms() {
    var norms = new float[count];
    for (int i = 0; i < count; i++) {
      float sum = 0;
      for (int k = i * stride; k < (i + 1) * stride; k += 4) {
        float x0 = values[k];
        float x1 = values[k + 1];
        float x2 = values[k + 2];
        float x3 = values[k + 3];
        sum += (x0 * x0 + x1 * x1) + (x2 * x2 + x3 * x3);
      }
      norms[i] = sum;
    }
    return norms;
  }
}
