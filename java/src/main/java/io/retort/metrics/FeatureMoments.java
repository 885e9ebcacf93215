package io.retort.metrics;

/// Mean and unbiased covariance of a set of feature vectors, in float64.
///
/// `mu = sum x / n`, `S = sum (x - mu)(x - mu)^T / (n - 1)`, computed in two passes: the one-pass
/// form `E[x x^T] - mu mu^T` cancels when features sit far from zero. With n <= d vectors the
/// covariance is singular; the distances stay defined but their bias is large.
///
/// @param count number of vectors n, at least 2
/// @param mean mu, length d
/// @param covariance S, d x d, symmetric
public record FeatureMoments(long count, double[] mean, double[][] covariance) {

  /// @throws IllegalArgumentException if the sizes disagree, n < 2, or a number is not finite
  public FeatureMoments {
    if (count < 2) {
      throw new IllegalArgumentException("moments: vectors must be at least 2, got " + count);
    }
    int d = mean.length;
    if (covariance.length != d) {
      throw new IllegalArgumentException(
          "moments: covariance must have %d rows, got %d".formatted(d, covariance.length));
    }
    mean = mean.clone();
    covariance = covariance.clone();
    for (int i = 0; i < d; i++) {
      if (covariance[i].length != d) {
        throw new IllegalArgumentException(
            "moments: covariance must have %d columns, got %d".formatted(d, covariance[i].length));
      }
      covariance[i] = covariance[i].clone();
      if (!Double.isFinite(mean[i])) {
        throw new IllegalArgumentException("moments: mean must be finite, got " + mean[i]);
      }
      for (double value : covariance[i]) {
        if (!Double.isFinite(value)) {
          throw new IllegalArgumentException("moments: covariance must be finite, got " + value);
        }
      }
    }
  }

  /// The moments of `n` vectors, one per row. Cost: `n d^2 / 2` multiply-adds.
  ///
  /// @throws IllegalArgumentException if there are fewer than two rows, rows differ in length, or a
  ///   feature is not finite
  public static FeatureMoments of(float[][] features) {
    int n = features.length;
    int d = n == 0 ? 0 : features[0].length;
    var mean = new double[d];
    for (float[] row : features) {
      if (row.length != d) {
        throw new IllegalArgumentException(
            "moments: every vector must have length %d, got %d".formatted(d, row.length));
      }
      for (int i = 0; i < d; i++) {
        mean[i] += row[i];
      }
    }
    for (int i = 0; i < d; i++) {
      mean[i] /= n;
    }
    return new FeatureMoments(n, mean, covariance(features, mean));
  }

  /// The moments of both sets together (Chan, Golub & LeVeque 1979, eq. 2.1).
  ///
  /// `mu = mu_a + delta n_b / n`, `M = M_a + M_b + delta delta^T n_a n_b / n` with `delta = mu_b -
  /// mu_a` and `M = (n - 1) S`: lets a large set be read in parts.
  public FeatureMoments merge(FeatureMoments other) {
    int d = dimension();
    requireDimension("moments", other);
    double total = (double) count + other.count;
    double cross = (double) count * other.count / total;
    var merged = new double[d];
    var joint = new double[d][d];
    for (int i = 0; i < d; i++) {
      double delta = other.mean[i] - mean[i];
      merged[i] = mean[i] + delta * (other.count / total);
      for (int j = 0; j < d; j++) {
        double scatter =
            covariance[i][j] * (count - 1)
                + other.covariance[i][j] * (other.count - 1)
                + delta * (other.mean[j] - mean[j]) * cross;
        joint[i][j] = scatter / (total - 1);
      }
    }
    return new FeatureMoments(count + other.count, merged, joint);
  }

  /// Length d of the feature vectors.
  public int dimension() {
    return mean.length;
  }

  /// `tr S`: the total variance.
  public double trace() {
    double sum = 0;
    for (int i = 0; i < mean.length; i++) {
      sum += covariance[i][i];
    }
    return sum;
  }

  void requireDimension(String what, FeatureMoments other) {
    if (other.dimension() != dimension()) {
      throw new IllegalArgumentException(
          "%s: feature dimensions must be equal, got %d and %d"
              .formatted(what, dimension(), other.dimension()));
    }
  }

  private static double[][] covariance(float[][] features, double[] mean) {
    int d = mean.length;
    var scatter = new double[d][d];
    var centred = new double[d];
    for (float[] row : features) {
      for (int i = 0; i < d; i++) {
        centred[i] = row[i] - mean[i];
      }
      for (int i = 0; i < d; i++) {
        addScaled(scatter[i], centred, centred[i], i + 1);
      }
    }
    for (int i = 0; i < d; i++) {
      for (int j = 0; j <= i; j++) {
        scatter[i][j] /= features.length - 1.0;
        scatter[j][i] = scatter[i][j];
      }
    }
    return scatter;
  }

  private static void addScaled(double[] sum, double[] vector, double scale, int length) {
    for (int j = 0; j < length; j++) {
      sum[j] += scale * vector[j];
    }
  }
}
