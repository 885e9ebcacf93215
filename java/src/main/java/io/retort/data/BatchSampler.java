package io.retort.data;

import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import java.util.stream.IntStream;

/// Which images step k sees: a pure function of (images, batch size, seed, stream, flip, step).
///
/// Sample `g = step * batchSize + i` of the endless stream is place `g mod n` of permutation `g /
/// n`; every permutation is a Fisher-Yates shuffle driven by Philox, so each image comes once
/// before any comes twice. Whether `g` is mirrored is one Philox bit of its own. Keyed by `g`
/// alone, the stream does not depend on where a run stopped, nor on how many processes share a
/// step.
///
/// Cost: one shuffle per epoch, then a copy, or the decoding of pictures, on every core. Not
/// thread-safe: the last permutation is kept.
public final class BatchSampler {
  /// Mirroring draws from the upper half of the augmentation streams, whatever else uses the lower.
  private static final int MIRROR_STREAMS = 1 << 23;

  private final ImageSource images;
  private final int batchSize;
  private final long seed;
  private final int stream;
  private final boolean flip;
  private final int[] order;
  private long orderEpoch = -1;

  /// @param stream tells apart several samplers of one run (distillation batch, embedding batch), 0
  ///   to 2^23 - 1
  /// @param flip mirror each image left to right with probability one half; only where
  ///   [DataCard#flipAllowed]
  public BatchSampler(ImageSource images, int batchSize, long seed, int stream, boolean flip) {
    if (images.count() < 1) {
      throw new IllegalArgumentException("batch sampler: there must be at least one image");
    }
    if (batchSize < 1) {
      throw new IllegalArgumentException(
          "batch sampler: batch size must be at least 1, got " + batchSize);
    }
    if (stream < 0 || stream >= MIRROR_STREAMS) {
      throw new IllegalArgumentException(
          "batch sampler: stream must be in 0..%d, got %d".formatted(MIRROR_STREAMS - 1, stream));
    }
    this.images = images;
    this.batchSize = batchSize;
    this.seed = seed;
    this.stream = stream;
    this.flip = flip;
    this.order = new int[images.count()];
  }

  /// The batch of `step`, in fresh arrays.
  public Batch batch(long step) {
    if (step < 0) {
      throw new IllegalArgumentException("batch sampler: step must not be negative, got " + step);
    }
    int size = images.imageSize();
    var values = new float[Math.multiplyExact(batchSize, size)];
    var labels = new int[batchSize];
    var indices = new long[batchSize];
    long first = Math.multiplyExact(step, (long) batchSize);
    for (int i = 0; i < batchSize; i++) {
      int index = indexOf(first + i);
      indices[i] = index;
      labels[i] = images.label(index);
    }
    IntStream.range(0, batchSize)
        .parallel()
        .forEach(
            i -> images.copyUnit((int) indices[i], flip && mirrored(first + i), values, i * size));
    return new Batch(
        values, labels, indices, batchSize, images.height(), images.width(), images.channels());
  }

  private int indexOf(long sample) {
    long epoch = sample / order.length;
    if (epoch != orderEpoch) {
      shuffle(epoch);
      orderEpoch = epoch;
    }
    return order[(int) (sample % order.length)];
  }

  private void shuffle(long epoch) {
    for (int i = 0; i < order.length; i++) {
      order[i] = i;
    }
    var key = new PhiloxKey(seed, Purpose.DATA, stream, epoch);
    for (int i = order.length - 1; i >= 1; i--) {
      int other = Philox.below(key, i, i + 1);
      int kept = order[i];
      order[i] = order[other];
      order[other] = kept;
    }
  }

  private boolean mirrored(long sample) {
    var key = new PhiloxKey(seed, Purpose.AUGMENT, MIRROR_STREAMS + stream, sample);
    return (Philox.word(key, 0) & 1) != 0;
  }
}
