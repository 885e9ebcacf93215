package io.retort.bench.ops;

import io.retort.tensor.DType;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/// How far a device's results may be from the CPU's, which the op contract holds to float64.
///
/// The whole of a result is compared by its relative L2 distance, so that many small errors count
/// as one large one does.
final class Agreement {
  /// Up to 600,000 products summed in another order and on other hardware.
  private static final double FLOAT32 = 1e-4;

  /// Results rounded to 8 bits are 2^-9 off, and so are inner roundings of scores, weights and
  /// activations.
  private static final double BFLOAT16 = 1.0 / 64;

  private Agreement() {}

  /// Why the results are wrong, if they are; else nothing.
  static Optional<String> broken(List<float[]> actual, List<float[]> expected, DType precision) {
    double bound = precision == DType.BF16 ? BFLOAT16 : FLOAT32;
    for (int i = 0; i < expected.size(); i++) {
      double distance = distance(actual.get(i), expected.get(i));
      if (!(distance <= bound)) {
        return Optional.of(
            String.format(
                Locale.ROOT,
                "result %d is %.3g away from the CPU's, relative, more than %.3g",
                i,
                distance,
                bound));
      }
    }
    return Optional.empty();
  }

  /// The largest distance of any result.
  static double distance(List<float[]> actual, List<float[]> expected) {
    double largest = 0;
    for (int i = 0; i < expected.size(); i++) {
      largest = Math.max(largest, distance(actual.get(i), expected.get(i)));
    }
    return largest;
  }

  /// `|a - b| / |b|`; NaN if any number is not finite.
  private static double distance(float[] actual, float[] expected) {
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < expected.length; i++) {
      double d = (double) actual[i] - expected[i];
      difference += d * d;
      norm += (double) expected[i] * expected[i];
    }
    return norm == 0 ? difference : Math.sqrt(difference / norm);
  }
}
