package io.retort.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.checkpoint.SafetensorsReader;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

class FrechetTest {

  @Test
  void distanceToItselfIsZero() {
    var moments = FeatureMoments.of(Gaussians.standard(300, 40, 1));
    assertThat(Frechet.distance(moments, moments)).isCloseTo(0, within(1e-10));
  }

  @Test
  void translationCostsItsSquaredLength() {
    float[][] x = Gaussians.standard(300, 16, 2);
    var y = new float[x.length][];
    for (int i = 0; i < x.length; i++) {
      y[i] = x[i].clone();
      for (int k = 0; k < 16; k++) {
        x[i][k] = Math.round(x[i][k] * 1024) / 1024f;
        y[i][k] = x[i][k] + (k % 2 == 0 ? 2 : -0.5f);
      }
    }
    assertThat(Frechet.distance(x, y)).isCloseTo(8 * 4 + 8 * 0.25, within(1e-8));
  }

  /// `x -> c x` has covariance `c^2 S`: distance `(c - 1)^2 (|mu|^2 + tr S)`.
  @Test
  void scalingHasAClosedForm() {
    float[][] x = Gaussians.affine(200, 12, 0.5, 1, 3);
    var y = new float[x.length][12];
    for (int i = 0; i < x.length; i++) {
      for (int k = 0; k < 12; k++) {
        y[i][k] = 4 * x[i][k];
      }
    }
    var moments = FeatureMoments.of(x);
    double squaredMean = Arrays.stream(moments.mean()).map(m -> m * m).sum();
    assertThat(Frechet.distance(x, y)).isCloseTo(9 * (squaredMean + moments.trace()), within(1e-8));
  }

  /// For commuting covariances the distance is `|shift|^2 + sum (sqrt(a_i) - sqrt(b_i))^2`.
  @Test
  void diagonalCovariancesByHand() {
    var a = diagonal(new double[] {0, 0, 0}, 4, 9, 0);
    var b = diagonal(new double[] {1, 2, 0}, 1, 0, 25);
    assertThat(Frechet.distance(a, b)).isCloseTo(5 + 1 + 9 + 25, within(1e-12));
  }

  @Test
  void symmetricAndUnchangedByRotation() {
    var a = FeatureMoments.of(Gaussians.affine(60, 24, 0, 1, 4));
    var b = FeatureMoments.of(Gaussians.affine(60, 24, 0.3, 2, 5));
    double distance = Frechet.distance(a, b);
    assertThat(Frechet.distance(b, a)).isCloseTo(distance, within(1e-10));
    assertThat(Frechet.distance(reflect(a), reflect(b))).isCloseTo(distance, within(1e-9));
  }

  /// A second way, without eigenvalues: the Denman-Beavers iteration for the root of `S1 S2`.
  @Test
  void agreesWithTheMatrixRootOfTheProduct() {
    for (int d : new int[] {1, 2, 7, 64, 128}) {
      double[][] a = FeatureMoments.of(Gaussians.affine(3 * d + 2, d, 0, 1, 6)).covariance();
      double[][] b = FeatureMoments.of(Gaussians.affine(3 * d + 2, d, 0, 3, 7)).covariance();
      double expected = trace(denmanBeavers(multiply(a, b)));
      assertThat(Frechet.traceOfProductRoot(a, b)).isCloseTo(expected, within(1e-8 * expected));
    }
  }

  /// The 60,000 training images' moments against 32 test images of the golden LeNet: a case with
  /// dead features and rank 31 < d, where the eigenvalues of the product would lose half the
  /// digits.
  ///
  /// Expected value: NumPy 2.4.6, float64, from the singular values of the product of roots
  /// (210.7182890604604); from the 32 x 32 Gram matrix it is 210.71829285.
  @Test
  void goldenLenetMoments() throws URISyntaxException {
    Path file = Path.of(getClass().getResource("/golden/lenet_mnist.safetensors").toURI());
    try (var golden = SafetensorsReader.open(file)) {
      double[] sigma = golden.doubles("ref/sigma_train");
      float[] values = golden.floats("out/features");
      var covariance = new double[128][];
      var features = new float[32][];
      Arrays.setAll(covariance, i -> Arrays.copyOfRange(sigma, i * 128, (i + 1) * 128));
      Arrays.setAll(features, i -> Arrays.copyOfRange(values, i * 128, (i + 1) * 128));
      var train = new FeatureMoments(60_000, golden.doubles("ref/mu_train"), covariance);
      assertThat(Frechet.distance(train, train)).isCloseTo(0, within(1e-7));
      assertThat(Frechet.distance(train, FeatureMoments.of(features)))
          .isCloseTo(210.718_292_8, within(1e-5));
    }
  }

  @Test
  void refusesDifferentDimensions() {
    var a = FeatureMoments.of(Gaussians.standard(9, 2, 8));
    var b = FeatureMoments.of(Gaussians.standard(9, 3, 8));
    assertThatThrownBy(() -> Frechet.distance(a, b))
        .hasMessage("frechet: feature dimensions must be equal, got 2 and 3");
  }

  private static FeatureMoments diagonal(double[] mean, double... variances) {
    var covariance = new double[variances.length][variances.length];
    for (int i = 0; i < variances.length; i++) {
      covariance[i][i] = variances[i];
    }
    return new FeatureMoments(1000, mean, covariance);
  }

  /// The moments after the Householder reflection `x -> x - 2 v (v.x)`.
  private static FeatureMoments reflect(FeatureMoments moments) {
    int d = moments.dimension();
    var random = new Random(9);
    double[] v = random.doubles(d, -1, 1).toArray();
    double squared = Arrays.stream(v).map(x -> x * x).sum();
    var reflection = new double[d][d];
    for (int i = 0; i < d; i++) {
      for (int j = 0; j < d; j++) {
        reflection[i][j] = (i == j ? 1 : 0) - 2 * v[i] * v[j] / squared;
      }
    }
    var mean = new double[d];
    for (int i = 0; i < d; i++) {
      for (int j = 0; j < d; j++) {
        mean[i] += reflection[i][j] * moments.mean()[j];
      }
    }
    double[][] covariance = multiply(multiply(reflection, moments.covariance()), reflection);
    return new FeatureMoments(moments.count(), mean, covariance);
  }

  /// `Y <- (Y + Z^-1) / 2`, `Z <- (Z + Y^-1) / 2` from `Y = A`, `Z = I`: Y tends to `A^(1/2)`.
  private static double[][] denmanBeavers(double[][] a) {
    double[][] y = a;
    double[][] z = identity(a.length);
    for (int step = 0; step < 25; step++) {
      double[][] next = average(y, inverse(z));
      z = average(z, inverse(y));
      y = next;
    }
    return y;
  }

  private static double[][] identity(int d) {
    var identity = new double[d][d];
    for (int i = 0; i < d; i++) {
      identity[i][i] = 1;
    }
    return identity;
  }

  private static double[][] average(double[][] a, double[][] b) {
    var mean = new double[a.length][a.length];
    for (int i = 0; i < a.length; i++) {
      for (int j = 0; j < a.length; j++) {
        mean[i][j] = (a[i][j] + b[i][j]) / 2;
      }
    }
    return mean;
  }

  private static double[][] multiply(double[][] a, double[][] b) {
    var product = new double[a.length][a.length];
    for (int i = 0; i < a.length; i++) {
      for (int k = 0; k < a.length; k++) {
        for (int j = 0; j < a.length; j++) {
          product[i][j] += a[i][k] * b[k][j];
        }
      }
    }
    return product;
  }

  private static double trace(double[][] a) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i][i];
    }
    return sum;
  }

  /// Gauss-Jordan with row pivoting.
  private static double[][] inverse(double[][] matrix) {
    int d = matrix.length;
    var a = new double[d][];
    Arrays.setAll(a, i -> matrix[i].clone());
    double[][] inverse = identity(d);
    for (int column = 0; column < d; column++) {
      int pivot = column;
      for (int i = column; i < d; i++) {
        pivot = Math.abs(a[i][column]) > Math.abs(a[pivot][column]) ? i : pivot;
      }
      swap(a, pivot, column);
      swap(inverse, pivot, column);
      double scale = a[column][column];
      for (int j = 0; j < d; j++) {
        a[column][j] /= scale;
        inverse[column][j] /= scale;
      }
      for (int i = 0; i < d; i++) {
        double factor = i == column ? 0 : a[i][column];
        for (int j = 0; j < d; j++) {
          a[i][j] -= factor * a[column][j];
          inverse[i][j] -= factor * inverse[column][j];
        }
      }
    }
    return inverse;
  }

  private static void swap(double[][] rows, int i, int j) {
    double[] row = rows[i];
    rows[i] = rows[j];
    rows[j] = row;
  }
}
