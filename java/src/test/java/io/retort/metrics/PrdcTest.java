package io.retort.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.time.Duration;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class PrdcTest {

  /// Real at 0, 1, 3, 10 with k = 1: squared radii 1, 1, 4, 49. Generated at 0.5, 4, 100 with radii
  /// 3.5, 3.5, 96. 0.5 lies in the balls of 0 and 1 only, 4 in those of 3 and 10, 100 in none.
  @Test
  void fourPointsOnALineByHand() {
    float[][] real = {{0}, {1}, {3}, {10}};
    float[][] generated = {{0.5f}, {4}, {100}};
    Prdc prdc = Prdc.of(real, generated, 1, 1);
    assertThat(prdc.precision()).isEqualTo(2 / 3.0);
    assertThat(prdc.density()).isEqualTo((2 + 2 + 0) / 3.0);
    assertThat(prdc.coverage()).isEqualTo(1);
    assertThat(prdc.recall()).isEqualTo(1);
  }

  @Test
  void identicalSetsAreInsideEverything() {
    float[][] x = Gaussians.affine(400, 16, 7, 1, 1);
    Prdc prdc = Prdc.of(x, x);
    assertThat(prdc.precision()).isEqualTo(1);
    assertThat(prdc.recall()).isEqualTo(1);
    assertThat(prdc.coverage()).isEqualTo(1);
    assertThat(prdc.density()).isBetween(1.0, 1.5);
  }

  @Test
  void farSetsShareNothing() {
    Prdc prdc = Prdc.of(Gaussians.standard(300, 8, 1), Gaussians.affine(300, 8, 50, 1, 2));
    assertThat(prdc).isEqualTo(new Prdc(0, 0, 0, 0));
  }

  /// Two real clusters, one generated: faithful and half as diverse.
  @Test
  void droppedModeCostsRecallNotPrecision() {
    float[][] left = Gaussians.standard(250, 4, 1);
    float[][] right = Gaussians.affine(250, 4, 40, 1, 2);
    float[][] both = Arrays.copyOf(left, 500);
    System.arraycopy(right, 0, both, 250, 250);
    Prdc dropped = Prdc.of(both, Gaussians.standard(500, 4, 3));
    assertThat(dropped.precision()).isGreaterThan(0.9);
    assertThat(dropped.recall()).isBetween(0.4, 0.5);
    assertThat(dropped.coverage()).isBetween(0.4, 0.5);
    Prdc invented = Prdc.of(left, both);
    assertThat(invented.precision()).isEqualTo(0.5);
    assertThat(invented.recall()).isEqualTo(1);
  }

  /// Naeem et al. 2020, section 3.2.2: density has mean 1 and coverage `1 - 2^-k` for equal laws.
  @Test
  void equalLawsReachTheExpectedDensityAndCoverage() {
    Prdc prdc = Prdc.of(Gaussians.standard(2000, 6, 4), Gaussians.standard(2000, 6, 5), 3, 5);
    assertThat(prdc.density()).isCloseTo(1, within(0.06));
    assertThat(prdc.coverage()).isCloseTo(1 - Math.pow(2, -5), within(0.02));
  }

  @Test
  void agreesWithTheDefinition() {
    float[][] real = Gaussians.standard(301, 9, 6);
    float[][] generated = Gaussians.affine(270, 9, 0.8, 0.8, 7);
    assertThat(Prdc.of(real, generated, 3, 5)).isEqualTo(byDefinition(real, generated, 3, 5));
  }

  @Test
  void unchangedByTranslationAndScale() {
    float[][] real = Gaussians.standard(200, 5, 8);
    float[][] generated = Gaussians.affine(200, 5, 0.5, 1, 9);
    Prdc prdc = Prdc.of(real, generated);
    assertThat(Prdc.of(moved(real), moved(generated))).isEqualTo(prdc);
  }

  @Test
  void fastEnoughForEveryReport() {
    float[][] real = Gaussians.standard(2000, 128, 10);
    float[][] generated = Gaussians.standard(2000, 128, 11);
    long start = System.nanoTime();
    Prdc.of(real, generated);
    assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(5));
  }

  @Test
  void refusesMoreNeighboursThanVectors() {
    float[][] x = Gaussians.standard(5, 2, 1);
    assertThatThrownBy(() -> Prdc.of(x, x))
        .hasMessage("precision and recall: neighbours must be 1 to 4, got 3 and 5");
  }

  private static float[][] moved(float[][] rows) {
    var moved = new float[rows.length][rows[0].length];
    for (int i = 0; i < rows.length; i++) {
      for (int k = 0; k < rows[i].length; k++) {
        moved[i][k] = 4 * rows[i][k] + 64;
      }
    }
    return moved;
  }

  private static Prdc byDefinition(float[][] real, float[][] generated, int k, int densityK) {
    double[] realRadius = squaredRadii(real, k);
    double[] densityRadius = squaredRadii(real, densityK);
    double[] generatedRadius = squaredRadii(generated, k);
    var precise = new boolean[generated.length];
    var recalled = new boolean[real.length];
    var covered = new boolean[real.length];
    int inside = 0;
    for (int i = 0; i < real.length; i++) {
      for (int j = 0; j < generated.length; j++) {
        double squared = squared(real[i], generated[j]);
        precise[j] |= squared <= realRadius[i];
        recalled[i] |= squared <= generatedRadius[j];
        covered[i] |= squared <= densityRadius[i];
        inside += squared <= densityRadius[i] ? 1 : 0;
      }
    }
    return new Prdc(
        fraction(precise),
        fraction(recalled),
        inside / ((double) densityK * generated.length),
        fraction(covered));
  }

  /// Squared distance to the k-th nearest other; entry 0 of the sorted distances is the row itself.
  private static double[] squaredRadii(float[][] rows, int k) {
    return Arrays.stream(rows)
        .mapToDouble(centre ->
            Arrays.stream(rows).mapToDouble(row -> squared(row, centre)).sorted().toArray()[k])
        .toArray();
  }

  private static double fraction(boolean[] flags) {
    int set = 0;
    for (boolean flag : flags) {
      set += flag ? 1 : 0;
    }
    return (double) set / flags.length;
  }

  private static double squared(float[] x, float[] y) {
    double sum = 0;
    for (int k = 0; k < x.length; k++) {
      sum += ((double) x[k] - y[k]) * ((double) x[k] - y[k]);
    }
    return sum;
  }
}
