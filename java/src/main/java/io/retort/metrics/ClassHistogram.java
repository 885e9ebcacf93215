package io.retort.metrics;

/// How often a classifier sees each class: finds classes that a generator drops or prefers.
///
/// @param counts images per class, at least one class
public record ClassHistogram(long[] counts) {

  /// @throws IllegalArgumentException if there is no class or a count is negative
  public ClassHistogram {
    if (counts.length == 0) {
      throw new IllegalArgumentException("class histogram: classes must be at least 1, got 0");
    }
    counts = counts.clone();
    for (long count : counts) {
      if (count < 0) {
        throw new IllegalArgumentException(
            "class histogram: counts must not be negative, got " + count);
      }
    }
  }

  /// Counts labels `0 .. classes - 1`.
  ///
  /// @throws IllegalArgumentException if a label is outside
  public static ClassHistogram of(int[] labels, int classes) {
    var counts = new long[classes];
    for (int label : labels) {
      if (label < 0 || label >= classes) {
        throw new IllegalArgumentException(
            "class histogram: labels must be 0 to %d, got %d".formatted(classes - 1, label));
      }
      counts[label]++;
    }
    return new ClassHistogram(counts);
  }

  /// Number of images.
  public long total() {
    long sum = 0;
    for (long count : counts) {
      sum += count;
    }
    return sum;
  }

  /// Number of classes seen at least once.
  public int present() {
    int seen = 0;
    for (long count : counts) {
      seen += count > 0 ? 1 : 0;
    }
    return seen;
  }

  /// `-sum p ln p` in nats: `ln(classes)` when even, 0 when all images are of one class.
  public double entropy() {
    double total = total();
    double sum = 0;
    for (long count : counts) {
      if (count > 0) {
        sum -= count / total * Math.log(count / total);
      }
    }
    return sum;
  }

  /// `sum (O - E)^2 / E` against given class probabilities (Pearson 1900).
  ///
  /// About `classes - 1` for a fair draw, growing in proportion to n otherwise. Infinite if a class
  /// of probability zero was seen.
  ///
  /// @param probabilities one per class, summing to 1
  public double chiSquare(double[] probabilities) {
    requireClasses(probabilities.length);
    double total = total();
    double sum = 0;
    for (int c = 0; c < counts.length; c++) {
      double expected = probabilities[c] * total;
      double excess = counts[c] - expected;
      if (excess != 0) {
        sum += excess * excess / expected;
      }
    }
    return sum;
  }

  /// `sum (sqrt(M/N) O - sqrt(N/M) R)^2 / (O + R)`: are both histograms draws from one law?
  ///
  /// N images here, M in the reference, classes seen in neither left out. About `classes - 1` if
  /// so; always finite, and aware that the reference is a sample too. Both sides are labelled by
  /// the same classifier, whose errors then cancel. Source: Press et al., Numerical Recipes, eq.
  /// 14.3.3.
  public double chiSquare(ClassHistogram reference) {
    requireClasses(reference.counts.length);
    double ratio = Math.sqrt((double) reference.total() / total());
    double sum = 0;
    for (int c = 0; c < counts.length; c++) {
      if (counts[c] + reference.counts[c] > 0) {
        double gap = ratio * counts[c] - reference.counts[c] / ratio;
        sum += gap * gap / (counts[c] + reference.counts[c]);
      }
    }
    return sum;
  }

  /// Fraction of conditional samples that the classifier recognises as the class they were asked
  /// for.
  ///
  /// Its ceiling is the classifier's accuracy on real held-out images, which the floor's row shows.
  ///
  /// @param asked labels as in [io.retort.data.Images#labels], unsigned bytes
  /// @throws IllegalArgumentException if the arrays differ in length or are empty
  public static double labelFidelity(int[] predicted, byte[] asked) {
    if (predicted.length != asked.length || asked.length == 0) {
      throw new IllegalArgumentException(
          "label fidelity: labels must be equally many, got %d predicted and %d asked"
              .formatted(predicted.length, asked.length));
    }
    int equal = 0;
    for (int i = 0; i < asked.length; i++) {
      equal += predicted[i] == Byte.toUnsignedInt(asked[i]) ? 1 : 0;
    }
    return (double) equal / asked.length;
  }

  private void requireClasses(int classes) {
    if (classes != counts.length) {
      throw new IllegalArgumentException(
          "class histogram: classes must be %d, got %d".formatted(counts.length, classes));
    }
  }
}
