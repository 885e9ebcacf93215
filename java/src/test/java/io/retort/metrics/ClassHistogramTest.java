package io.retort.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Random;
import org.junit.jupiter.api.Test;

class ClassHistogramTest {

  @Test
  void countsByHand() {
    var histogram = ClassHistogram.of(new int[] {0, 2, 2, 0, 0, 2}, 4);
    assertThat(histogram.counts()).containsExactly(3, 0, 3, 0);
    assertThat(histogram.total()).isEqualTo(6);
    assertThat(histogram.present()).isEqualTo(2);
    assertThat(histogram.entropy()).isCloseTo(Math.log(2), within(1e-12));
  }

  /// Expected 1.5 each: 2 (1.5)^2 / 1.5 + 2 (1.5)^2 / 1.5 = 6.
  @Test
  void chiSquareAgainstAPrior() {
    var histogram = ClassHistogram.of(new int[] {0, 2, 2, 0, 0, 2}, 4);
    assertThat(histogram.chiSquare(new double[] {.25, .25, .25, .25})).isCloseTo(6, within(1e-12));
    assertThat(histogram.chiSquare(new double[] {.5, 0, .5, 0})).isZero();
    assertThat(histogram.chiSquare(new double[] {1, 0, 0, 0})).isInfinite();
  }

  /// 3 : 1 against 2 : 2 of equal size: 1 / 5 + 1 / 3.
  @Test
  void chiSquareAgainstAnotherSample() {
    var a = new ClassHistogram(new long[] {3, 1, 0});
    var b = new ClassHistogram(new long[] {2, 2, 0});
    assertThat(a.chiSquare(b)).isCloseTo(1 / 5.0 + 1 / 3.0, within(1e-12));
    assertThat(b.chiSquare(a)).isCloseTo(a.chiSquare(b), within(1e-12));
    assertThat(a.chiSquare(new ClassHistogram(new long[] {300, 100, 0})))
        .isCloseTo(0, within(1e-12));
  }

  /// Mean over fair draws is the number of degrees of freedom, whatever the two sizes.
  @Test
  void fairDrawsScoreTheDegreesOfFreedom() {
    var random = new Random(1);
    double sum = 0;
    for (int i = 0; i < 500; i++) {
      var sample = ClassHistogram.of(random.ints(400, 0, 10).toArray(), 10);
      sum += sample.chiSquare(ClassHistogram.of(random.ints(1500, 0, 10).toArray(), 10));
    }
    assertThat(sum / 500).isCloseTo(9, within(0.6));
  }

  @Test
  void labelFidelityCountsMatches() {
    int[] predicted = {1, 2, 200, 0};
    byte[] asked = {1, 3, (byte) 200, 0};
    assertThat(ClassHistogram.labelFidelity(predicted, asked)).isEqualTo(0.75);
    assertThatThrownBy(() -> ClassHistogram.labelFidelity(predicted, new byte[3]))
        .hasMessage("label fidelity: labels must be equally many, got 4 predicted and 3 asked");
  }

  @Test
  void refusesLabelsOutside() {
    assertThatThrownBy(() -> ClassHistogram.of(new int[] {0, 10}, 10))
        .hasMessage("class histogram: labels must be 0 to 9, got 10");
  }
}
