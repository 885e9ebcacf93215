package io.retort.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.data.Images;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class EvaluationTest {

  private static final int N = 60;
  private static final Images TRAINING = TestImages.uniform(700, 3, 3, 1, 0, 240, 1);
  private static final Images HELD_OUT = TestImages.uniform(100, 3, 3, 1, 0, 240, 2);

  /// Pixels as features, in units of their standard deviation (240 / sqrt(12)); the class of an
  /// image is the tenth of the range its first pixel lies in.
  private record Pixels(String name, int classes) implements FeatureExtractor {
    @Override
    public int dimension() {
      return 9;
    }

    @Override
    public float[][] features(byte[] pixels, int count) {
      var features = new float[count][9];
      for (int i = 0; i < count * 9; i++) {
        features[i / 9][i % 9] = (pixels[i] & 0xff) / 69.3f;
      }
      return features;
    }

    @Override
    public int[] predict(byte[] pixels, int count) {
      var labels = new int[count];
      Arrays.setAll(labels, i -> Math.min(9, (pixels[i * 9] & 0xff) / 24));
      return labels;
    }
  }

  private static final FeatureExtractor TRAINED = new Pixels("pixels 01", 10);
  private static final FeatureExtractor RANDOM = new Pixels("pixels 02", 0);

  private static Evaluation evaluation() {
    return new Evaluation(TRAINING, HELD_OUT, TRAINED, RANDOM, Evaluation.Settings.of(N, 3));
  }

  private static Evaluation.Samples samples(String name, Images images) {
    return new Evaluation.Samples(name, 1, images, false, 50);
  }

  @Test
  void theFloorHasEveryNumberButSpeed() {
    MetricRow floor = evaluation().floor();
    assertThat(floor.name()).isEqualTo("floor");
    assertThat(floor.nfe()).isZero();
    assertThat(floor.n()).isEqualTo(N);
    for (Metric metric : Metric.values()) {
      assertThat(floor.values().containsKey(metric))
          .as(metric.key())
          .isEqualTo(metric != Metric.IMAGES_PER_SECOND);
    }
    assertThat(floor.value(Metric.NEAREST_BELOW_FLOOR)).isCloseTo(0.01, within(0.01));
  }

  @Test
  void numbersAreThoseOfTheParts() {
    Images images = TestImages.uniform(N, 3, 3, 1, 30, 220, 4);
    MetricRow row = evaluation().row(samples("student", images));
    double expected =
        Frechet.distance(
            TRAINED.features(TRAINING.pixels(), 700), TRAINED.features(images.pixels(), N));
    assertThat(row.value(Metric.FRECHET_LENET)).isCloseTo(expected, within(1e-12));
    assertThat(row.value(Metric.FRECHET_RANDOM)).isCloseTo(expected, within(1e-12));
    assertThat(row.value(Metric.NEAREST_DISTANCE))
        .isEqualTo(new NearestNeighbour(TRAINING).of(images).median());
    assertThat(row.value(Metric.IMAGES_PER_SECOND)).isEqualTo(50);
    assertThat(row.value(Metric.LABEL_FIDELITY)).isNaN();
  }

  @Test
  void ordersFloorShiftedAndNoise() {
    Evaluation evaluation = evaluation();
    Images held = TestImages.uniform(N, 3, 3, 1, 0, 240, 5);
    MetricRow same = evaluation.row(samples("same", held));
    MetricRow shifted = evaluation.row(samples("shifted", TestImages.brighter(held, 60)));
    assertThat(same.value(Metric.FRECHET_LENET))
        .isLessThan(shifted.value(Metric.FRECHET_LENET) / 3);
    assertThat(same.value(Metric.KERNEL_LENET)).isLessThan(shifted.value(Metric.KERNEL_LENET));
    assertThat(same.value(Metric.SLICED_WASSERSTEIN))
        .isLessThan(shifted.value(Metric.SLICED_WASSERSTEIN));
    assertThat(same.value(Metric.CLASS_CHI2)).isLessThan(shifted.value(Metric.CLASS_CHI2));
  }

  @Test
  void copiesOfTheTrainingSetAreNoticed() {
    int[] first = new int[N];
    Arrays.setAll(first, i -> i);
    MetricRow row = evaluation().row(samples("copier", TRAINING.select(first)));
    assertThat(row.value(Metric.NEAREST_BELOW_FLOOR)).isEqualTo(1);
    assertThat(row.value(Metric.NEAREST_DISTANCE)).isZero();
  }

  @Test
  void conditionalSamplesGetAFidelity() {
    Images images = TestImages.uniform(N, 3, 3, 1, 0, 24, 6);
    var asked = new Evaluation.Samples("student", 1, images, true, Double.NaN);
    assertThat(evaluation().row(asked).value(Metric.LABEL_FIDELITY)).isEqualTo(0.1);
  }

  @Test
  void theTableNamesNetsReferenceAndN() {
    MetricTable table = evaluation().table(List.of());
    assertThat(table.rows()).hasSize(1);
    assertThat(table.text())
        .contains("pixels 01", "pixels 02", "700 training images", "n = 60 in every row");
    assertThat(table.text()).contains("used in no loss").contains("Not comparable");
  }

  @Test
  void repeatsWithItsSeed() {
    assertThat(evaluation().floor()).isEqualTo(evaluation().floor());
  }

  @Test
  void refusesAnotherNOrShape() {
    Evaluation evaluation = evaluation();
    assertThatThrownBy(
            () -> evaluation.row(samples("student", TestImages.uniform(59, 3, 3, 1, 0, 9, 1))))
        .hasMessage("evaluation: images of student must be 60, as in every row, got 59");
    assertThatThrownBy(
            () -> evaluation.row(samples("student", TestImages.uniform(60, 3, 3, 3, 0, 9, 1))))
        .hasMessage("evaluation: student: images must be 3 x 3 x 1, got 3 x 3 x 3");
    var settings = Evaluation.Settings.of(101, 3);
    assertThatThrownBy(() -> new Evaluation(TRAINING, HELD_OUT, TRAINED, RANDOM, settings))
        .hasMessage("evaluation: held-out images must be at least 101, got 100");
  }
}
