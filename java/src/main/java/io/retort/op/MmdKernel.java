package io.retort.op;

import java.util.List;

/// A positive definite kernel (for [Energy]: a conditionally positive definite one) that compares
/// two feature vectors.
public sealed interface MmdKernel {

  /// `k(x, y)` in float64; `bandwidth` is the mean squared distance that [Rbf] is scaled with.
  double value(double[] x, double[] y, double bandwidth);

  /// `x . y`: compares means only.
  record Linear() implements MmdKernel {
    @Override
    public double value(double[] x, double[] y, double bandwidth) {
      return product(x, y);
    }
  }

  /// `sum_q exp(-|x - y|^2 / (bandwidth * factor_q))`: compares everything, at several length
  /// scales.
  ///
  /// @param bandwidthFactors multiples of the mean squared distance, each positive
  record Rbf(List<Double> bandwidthFactors) implements MmdKernel {

    public Rbf {
      bandwidthFactors = List.copyOf(bandwidthFactors);
      if (bandwidthFactors.isEmpty() || bandwidthFactors.stream().anyMatch(f -> !(f > 0))) {
        throw new IllegalArgumentException(
            "mmd: bandwidth factors must be positive and at least one, got " + bandwidthFactors);
      }
    }

    /// Five length scales: factors 1/4, 1/2, 1, 2, 4.
    public static Rbf standard() {
      return new Rbf(List.of(0.25, 0.5, 1.0, 2.0, 4.0));
    }

    @Override
    public double value(double[] x, double[] y, double bandwidth) {
      double squared = squaredDistance(x, y);
      return bandwidthFactors.stream()
          .mapToDouble(f -> squared == 0 ? 1 : Math.exp(-squared / (bandwidth * f)))
          .sum();
    }
  }

  /// `(scale x . y + offset)^degree`.
  ///
  /// @param degree 1 to 64
  record Polynomial(int degree, double scale, double offset) implements MmdKernel {

    public Polynomial {
      if (degree < 1 || degree > 64) {
        throw new IllegalArgumentException("mmd: degree must be in [1, 64], got " + degree);
      }
    }

    /// The kernel of the Kernel Inception Distance for features of `dimensions` dimensions.
    public static Polynomial kid(long dimensions) {
      return new Polynomial(3, 1.0 / dimensions, 1);
    }

    @Override
    public double value(double[] x, double[] y, double bandwidth) {
      return Math.pow(scale * product(x, y) + offset, degree);
    }
  }

  /// `-|x - y|`: the discrepancy is the energy distance; no length scale to choose.
  record Energy() implements MmdKernel {
    @Override
    public double value(double[] x, double[] y, double bandwidth) {
      return -Math.sqrt(squaredDistance(x, y));
    }
  }

  private static double product(double[] x, double[] y) {
    double sum = 0;
    for (int k = 0; k < x.length; k++) {
      sum += x[k] * y[k];
    }
    return sum;
  }

  private static double squaredDistance(double[] x, double[] y) {
    double sum = 0;
    for (int k = 0; k < x.length; k++) {
      sum += (x[k] - y[k]) * (x[k] - y[k]);
    }
    return sum;
  }
}
