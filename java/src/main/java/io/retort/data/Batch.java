package io.retort.data;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/// What one training step sees: images `(count, height, width, channels)` in `[-1, 1]`, their
/// labels, and each one's index in the split it was drawn from.
///
/// The arrays are handed over, not copied; a batch belongs to the one who took it from the loader.
///
/// @param pairs noise and what the teacher makes of it, null unless the method learns from that
public record Batch(
    float[] images,
    int[] labels,
    long[] indices,
    int count,
    int height,
    int width,
    int channels,
    @Nullable Pairs pairs) {

  /// Samples of a teacher: standard normal latents and images `(N, height, width, channels)`, a
  /// label each.
  public record Pairs(float[] latents, float[] images, int[] labels) {}

  public Batch(
      float[] images,
      int[] labels,
      long[] indices,
      int count,
      int height,
      int width,
      int channels) {
    this(images, labels, indices, count, height, width, channels, null);
  }

  /// The same images with these samples of the teacher.
  public Batch with(Pairs added) {
    return new Batch(images, labels, indices, count, height, width, channels, added);
  }

  public Batch {
    long expected = Math.multiplyExact((long) count * height, (long) width * channels);
    if (images.length != expected || labels.length != count || indices.length != count) {
      throw new IllegalArgumentException(
          "batch: arrays must hold %d values, %d labels and %d indices, got %d, %d and %d"
              .formatted(expected, count, count, images.length, labels.length, indices.length));
    }
  }

  /// The labels of the first `wanted` images.
  public int[] labels(int wanted) {
    return Arrays.copyOf(labels, wanted);
  }
}
