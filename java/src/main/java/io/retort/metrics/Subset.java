package io.retort.metrics;

import io.retort.data.Images;
import java.util.Arrays;
import java.util.Random;

/// Seeded choices without replacement.
///
/// Never take a prefix of a data set instead: the first half of MNIST's test set is visibly another
/// population than the whole. [Random] is used because its algorithm is specified: a seed means the
/// same choice on every JDK.
final class Subset {
  private Subset() {}

  /// `n` different indices below `count`, in random order: n steps of a Fisher-Yates shuffle.
  ///
  /// @throws IllegalArgumentException if there are fewer than n
  static int[] indices(int count, int n, Random random) {
    if (n < 0 || n > count) {
      throw new IllegalArgumentException(
          "subset: the number chosen must be at most %d, got %d".formatted(count, n));
    }
    var indices = new int[count];
    Arrays.setAll(indices, i -> i);
    for (int i = 0; i < n; i++) {
      int other = i + random.nextInt(count - i);
      int moved = indices[i];
      indices[i] = indices[other];
      indices[other] = moved;
    }
    return Arrays.copyOf(indices, n);
  }

  /// The chosen rows, not copied.
  static float[][] rows(float[][] rows, int[] indices) {
    var chosen = new float[indices.length][];
    for (int i = 0; i < indices.length; i++) {
      chosen[i] = rows[indices[i]];
    }
    return chosen;
  }

  /// Images `from` (inclusive) to `to` (exclusive).
  static Images range(Images images, int from, int to) {
    var indices = new int[to - from];
    Arrays.setAll(indices, i -> from + i);
    return images.select(indices);
  }

  /// @throws IllegalArgumentException if the images differ in height, width or channels
  static void requireSameShape(String what, Images expected, Images got) {
    if (expected.height() != got.height()
        || expected.width() != got.width()
        || expected.channels() != got.channels()) {
      throw new IllegalArgumentException(
          "%s: images must be %d x %d x %d, got %d x %d x %d"
              .formatted(
                  what,
                  expected.height(),
                  expected.width(),
                  expected.channels(),
                  got.height(),
                  got.width(),
                  got.channels()));
    }
  }
}
