package io.retort.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.data.Images;
import io.retort.metrics.NearestNeighbour.Neighbours;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class NearestNeighbourTest {

  @Test
  void copiesAreAtZeroAndFound() {
    Images training = TestImages.uniform(70, 9, 6, 1, 0, 256, 1);
    Neighbours neighbours = new NearestNeighbour(training).of(training.select(69, 0, 33));
    assertThat(neighbours.distance()).containsExactly(0, 0, 0);
    assertThat(neighbours.index()).containsExactly(69, 0, 33);
  }

  /// The unit is the root mean square per pixel: all pixels 3 levels off is 3.
  @Test
  void unitIsLevelsPerPixel() {
    Images training = TestImages.uniform(5, 8, 8, 3, 0, 200, 2);
    Neighbours neighbours = new NearestNeighbour(training).of(TestImages.brighter(training, 3));
    assertThat(neighbours.distance()).containsOnly(3);
  }

  /// Ragged blocks, several channels, more images than a chunk: equal to comparing everything.
  @ParameterizedTest
  @CsvSource({"1,1,1", "5,7,1", "8,8,3", "13,4,2"})
  void exactDespiteTheShortcut(int height, int width, int channels) {
    Images training = TestImages.uniform(300, height, width, channels, 0, 256, 3);
    Images images = TestImages.uniform(70, height, width, channels, 60, 220, 4);
    Neighbours neighbours = new NearestNeighbour(training).of(images);
    for (int i = 0; i < images.count(); i++) {
      int nearest = 0;
      for (int t = 1; t < training.count(); t++) {
        nearest =
            squared(images, i, training, t) < squared(images, i, training, nearest) ? t : nearest;
      }
      assertThat(neighbours.index()[i]).isEqualTo(nearest);
      double expected =
          Math.sqrt((double) squared(images, i, training, nearest) / training.imageSize());
      assertThat(neighbours.distance()[i]).isEqualTo(expected);
    }
  }

  @Test
  void quantilesAndFractions() {
    var neighbours = new Neighbours(new double[] {4, 1, 3, 2}, new int[4]);
    assertThat(neighbours.quantile(0)).isEqualTo(1);
    assertThat(neighbours.quantile(1)).isEqualTo(4);
    assertThat(neighbours.median()).isEqualTo(2.5);
    assertThat(neighbours.quantile(0.1)).isCloseTo(1.3, within(1e-12));
    assertThat(neighbours.fractionBelow(3)).isEqualTo(0.5);
    assertThat(neighbours.fractionBelow(1)).isZero();
  }

  @Test
  void refusesAnotherShape() {
    var training = new NearestNeighbour(TestImages.of(2, 2, 1, 1, 2, 3, 4));
    assertThatThrownBy(() -> training.of(TestImages.of(2, 1, 2, 1, 2, 3, 4)))
        .hasMessage("nearest neighbour: images must be 2 x 2 x 1, got 2 x 1 x 2");
  }

  private static long squared(Images a, int i, Images b, int j) {
    int size = a.imageSize();
    long sum = 0;
    for (int k = 0; k < size; k++) {
      long difference = (a.pixels()[i * size + k] & 0xff) - (b.pixels()[j * size + k] & 0xff);
      sum += difference * difference;
    }
    return sum;
  }
}
