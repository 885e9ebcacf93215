package io.retort.metrics;

import io.retort.data.Images;
import java.util.Arrays;
import java.util.stream.IntStream;

/// `min over training images t of sqrt(mean over pixels of (x - t)^2)`: has an image been copied?
///
/// Distances are in levels 0..255 per pixel (root mean square), exact in integers. A generator that
/// memorises sits closer to the training set than held-out real images do: compare the distribution
/// with theirs, by [Neighbours#fractionBelow] at their 1 % quantile. Pixel distance is blind to
/// shifted or mirrored copies; pass a training set with flips if flips were trained on.
///
/// Search is exact but seldom compares whole images: by the Cauchy-Schwarz inequality the squared
/// difference of block sums, divided by the block size, is at most the block's squared difference,
/// so pooled images give a lower bound and only candidates below the best distance so far are
/// compared.
public final class NearestNeighbour {

  private static final int BLOCK = 4;
  private static final int CHUNK = 64;

  /// Share of the pooled norms that float32 rounding may take off a lower bound, generously.
  private static final float ROUNDING = 1e-5f;

  private final Images training;
  private final PackedRows pooledTraining;

  /// @param training the images a generator was trained on, at least one
  public NearestNeighbour(Images training) {
    if (training.count() == 0) {
      throw new IllegalArgumentException("nearest neighbour: training images must be at least 1");
    }
    this.training = training;
    this.pooledTraining = pooled(training);
  }

  /// Distances to the nearest training image, one entry per image and in its order.
  ///
  /// @param distance root-mean-square levels per pixel
  /// @param index which training image is nearest (the first, if several are)
  public record Neighbours(double[] distance, int[] index) {

    public Neighbours {
      if (distance.length == 0 || distance.length != index.length) {
        throw new IllegalArgumentException(
            "nearest neighbour: distances and indices must be equally many, got %d and %d"
                .formatted(distance.length, index.length));
      }
      distance = distance.clone();
      index = index.clone();
    }

    /// The distance that a fraction `q` (0..1) of the images stays below, linearly interpolated.
    public double quantile(double q) {
      double[] sorted = distance.clone();
      Arrays.sort(sorted);
      double position = q * (sorted.length - 1);
      int low = (int) Math.floor(position);
      int high = Math.min(low + 1, sorted.length - 1);
      return sorted[low] + (position - low) * (sorted[high] - sorted[low]);
    }

    /// The 50 % quantile.
    public double median() {
      return quantile(0.5);
    }

    /// Fraction of images strictly closer than `threshold`; with the held-out images' 1 % quantile
    /// as threshold, 0.01 is expected and much more means memorisation.
    public double fractionBelow(double threshold) {
      int below = 0;
      for (double value : distance) {
        below += value < threshold ? 1 : 0;
      }
      return (double) below / distance.length;
    }
  }

  /// The nearest training image of each image.
  ///
  /// @throws IllegalArgumentException if the images have another shape, or there are none
  public Neighbours of(Images images) {
    Subset.requireSameShape("nearest neighbour", training, images);
    var distance = new double[images.count()];
    var index = new int[images.count()];
    for (int from = 0; from < images.count(); from += CHUNK) {
      int first = from;
      Images chunk = Subset.range(images, from, Math.min(from + CHUNK, images.count()));
      float[][] bounds = lowerBounds(chunk);
      IntStream.range(0, chunk.count())
          .parallel()
          .forEach(i -> {
            index[first + i] = nearest(chunk, i, bounds[i]);
            long squared = squaredDistance(chunk, i, index[first + i], Long.MAX_VALUE);
            distance[first + i] = Math.sqrt((double) squared / training.imageSize());
          });
    }
    return new Neighbours(distance, index);
  }

  private int nearest(Images images, int image, float[] bounds) {
    int best = 0;
    for (int t = 1; t < bounds.length; t++) {
      best = bounds[t] < bounds[best] ? t : best;
    }
    long least = squaredDistance(images, image, best, Long.MAX_VALUE);
    for (int t = 0; t < bounds.length; t++) {
      if (bounds[t] <= least && t != best) {
        long squared = squaredDistance(images, image, t, least);
        if (squared < least || (squared == least && t < best)) {
          least = squared;
          best = t;
        }
      }
    }
    return best;
  }

  /// Sum of squared level differences; stops once it exceeds `limit`.
  private long squaredDistance(Images images, int image, int trainingImage, long limit) {
    int size = training.imageSize();
    byte[] a = images.pixels();
    byte[] b = training.pixels();
    int offsetA = image * size;
    int offsetB = trainingImage * size;
    long sum = 0;
    for (int from = 0; from < size && sum <= limit; from += 256) {
      int to = Math.min(from + 256, size);
      int part = 0;
      for (int k = from; k < to; k++) {
        int difference = (a[offsetA + k] & 0xff) - (b[offsetB + k] & 0xff);
        part += difference * difference;
      }
      sum += part;
    }
    return sum;
  }

  /// Lower bounds of the squared distances of each image to every training image.
  private float[][] lowerBounds(Images images) {
    var bounds = new float[images.count()][training.count()];
    var pooled = pooled(images);
    float[] norms = pooled.squaredNorms();
    float[] trainingNorms = pooledTraining.squaredNorms();
    InnerProducts.forEach(
        pooled,
        pooledTraining,
        (row, column, columns, products, offset) -> {
          for (int j = 0; j < columns; j++) {
            float total = norms[row] + trainingNorms[column + j];
            bounds[row][column + j] = total * (1 - ROUNDING) - 2 * products[offset + j];
          }
        });
    return bounds;
  }

  /// `sum over a block / sqrt(block size)` for each block of at most 4 x 4 pixels and each channel.
  private static PackedRows pooled(Images images) {
    int rows = (images.height() + BLOCK - 1) / BLOCK;
    int columns = (images.width() + BLOCK - 1) / BLOCK;
    int channels = images.channels();
    var pooled = new float[images.count()][rows * columns * channels];
    for (int n = 0; n < images.count(); n++) {
      int from = n * images.imageSize();
      for (int y = 0; y < images.height(); y++) {
        for (int x = 0; x < images.width(); x++) {
          int block = (y / BLOCK * columns + x / BLOCK) * channels;
          int pixel = from + (y * images.width() + x) * channels;
          for (int c = 0; c < channels; c++) {
            pooled[n][block + c] += (images.pixels()[pixel + c] & 0xff) - 127.5f;
          }
        }
      }
      for (int block = 0; block < rows * columns; block++) {
        int high = Math.min(BLOCK, images.height() - block / columns * BLOCK);
        int wide = Math.min(BLOCK, images.width() - block % columns * BLOCK);
        for (int c = 0; c < channels; c++) {
          pooled[n][block * channels + c] /= (float) Math.sqrt(high * wide);
        }
      }
    }
    return PackedRows.of(pooled);
  }
}
