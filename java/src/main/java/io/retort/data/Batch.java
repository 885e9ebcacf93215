package io.retort.data;

/// What one training step sees: images `(count, height, width, channels)` in `[-1, 1]`, their
/// labels, and each one's index in the split it was drawn from.
///
/// The arrays are handed over, not copied; a batch belongs to the one who took it from the loader.
public record Batch(
    float[] images, int[] labels, long[] indices, int count, int height, int width, int channels) {
  public Batch {
    long expected = Math.multiplyExact((long) count * height, (long) width * channels);
    if (images.length != expected || labels.length != count || indices.length != count) {
      throw new IllegalArgumentException(
          "batch: arrays must hold %d values, %d labels and %d indices, got %d, %d and %d"
              .formatted(expected, count, count, images.length, labels.length, indices.length));
    }
  }
}
