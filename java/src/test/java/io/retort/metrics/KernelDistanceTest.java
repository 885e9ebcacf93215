package io.retort.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

class KernelDistanceTest {

  /// d = 1, `k = (x y + 1)^3`: x = {0, 1}, y = {1, 2}. xx: k(0, 1) = 1; yy: k(1, 2) = 27; xy: 1 + 1
  /// + 8 + 27 over 4.
  @Test
  void fourPointsByHand() {
    double value = KernelDistance.unbiased(new float[][] {{0}, {1}}, new float[][] {{1}, {2}});
    assertThat(value).isCloseTo(1 + 27 - 2 * 37 / 4.0, within(1e-12));
  }

  @Test
  void agreesWithTheDefinition() {
    float[][] x = Gaussians.standard(301, 10, 1);
    float[][] y = Gaussians.affine(270, 10, 0.4, 1.2, 2);
    double expected = mean(x, x, true) + mean(y, y, true) - 2 * mean(x, y, false);
    assertThat(KernelDistance.unbiased(x, y)).isCloseTo(expected, within(1e-5));
  }

  /// Two samples of one law: the mean over many draws is zero within three standard errors,
  /// although the biased estimator would be at `E k(x, x) / n`, about 20 of these standard errors
  /// away.
  @Test
  void unbiasedAtSmallN() {
    int draws = 2000;
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < draws; i++) {
      double value =
          KernelDistance.unbiased(
              Gaussians.standard(10, 4, 2L * i), Gaussians.standard(10, 4, 2L * i + 1));
      sum += value;
      squares += value * value;
    }
    double mean = sum / draws;
    double standardError = Math.sqrt((squares / draws - mean * mean) / draws);
    assertThat(Math.abs(mean)).isLessThan(3 * standardError);
    double biasOfTheBiasedEstimator = 2 * 8 / 10.0;
    assertThat(standardError).isLessThan(biasOfTheBiasedEstimator / 10);
  }

  /// `E k` of N(0, I) and N(mu, I) in closed form, d = 1: `E (x y + 1)^3 = 1 + 3 E x^2 E y^2 + 3 E
  /// x E y + E x^3 E y^3`.
  @Test
  void reachesThePopulationValueOfShiftedNormals() {
    double shift = 1.5;
    double second = 1 + shift * shift;
    double third = shift * shift * shift + 3 * shift;
    double yy = 1 + 3 * second * second + 3 * shift * shift + third * third;
    double expected = (1 + 3) + yy - 2 * (1 + 3 * second);
    double value =
        KernelDistance.unbiased(
            Gaussians.standard(4000, 1, 5), Gaussians.affine(4000, 1, shift, 1, 6));
    assertThat(value).isCloseTo(expected, within(0.12 * expected));
  }

  @Test
  void subsetsGiveMeanAndSpreadAndRepeat() {
    float[][] x = Gaussians.standard(600, 8, 7);
    float[][] y = Gaussians.affine(500, 8, 0.3, 1, 8);
    var estimate = KernelDistance.over(x, y, 40, 200, 9);
    assertThat(estimate.mean())
        .isCloseTo(KernelDistance.unbiased(x, y), within(4 * estimate.standardDeviation() / 6));
    assertThat(estimate.standardDeviation()).isPositive();
    assertThat(KernelDistance.over(x, y, 40, 200, 9)).isEqualTo(estimate);
    assertThat(KernelDistance.over(x, y, 40, 200, 10)).isNotEqualTo(estimate);
    assertThat(KernelDistance.over(x, y, 1, 200, 9).standardDeviation()).isZero();
  }

  @Test
  void refusesSubsetsLargerThanASet() {
    float[][] x = Gaussians.standard(9, 2, 1);
    assertThatThrownBy(() -> KernelDistance.over(x, x, 10, 10, 1))
        .hasMessage("kernel distance: subsets must be >= 1 of 2 to 9 vectors, got 10 of 10");
  }

  private static double mean(float[][] x, float[][] y, boolean skipEqual) {
    double sum = 0;
    int pairs = 0;
    for (int i = 0; i < x.length; i++) {
      for (int j = 0; j < y.length; j++) {
        if (!skipEqual || i != j) {
          double dot = 0;
          for (int k = 0; k < x[i].length; k++) {
            dot += (double) x[i][k] * y[j][k];
          }
          sum += Math.pow(dot / x[i].length + 1, 3);
          pairs++;
        }
      }
    }
    return sum / pairs;
  }
}
