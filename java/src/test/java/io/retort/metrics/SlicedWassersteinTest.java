package io.retort.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.data.Images;
import org.junit.jupiter.api.Test;

class SlicedWassersteinTest {

  @Test
  void transportOnTheLineByHand() {
    float[] a = {0, 1, 5};
    assertThat(SlicedWasserstein.squaredTransport(a, a)).isZero();
    assertThat(SlicedWasserstein.squaredTransport(a, new float[] {1, 3, 5}))
        .isCloseTo((1 + 4 + 0) / 3.0, within(1e-12));
  }

  /// {0, 6} against {0, 3, 9}: quantile steps at 1/3, 1/2, 2/3 with gaps 0, 3, 3, 3.
  @Test
  void transportBetweenSetsOfDifferentSize() {
    double value = SlicedWasserstein.squaredTransport(new float[] {0, 6}, new float[] {0, 3, 9});
    assertThat(value).isCloseTo(9 / 6.0 + 9 / 6.0 + 9 / 3.0, within(1e-12));
  }

  /// Repeating every image changes no distribution, so no distance.
  @Test
  void repeatedImagesCountAsTheSameSet() {
    Images images = TestImages.uniform(5, 3, 3, 1, 0, 256, 1);
    var twice = images.select(0, 1, 2, 3, 4, 0, 1, 2, 3, 4);
    assertThat(new SlicedWasserstein(images, 64, 2).distance(twice)).isZero();
  }

  /// One pixel: projection is +1 or -1, so the sliced distance is W2 itself.
  @Test
  void onePixelIsTheLine() {
    Images a = TestImages.of(1, 1, 1, 10, 20, 30);
    Images b = TestImages.of(1, 1, 1, 12, 20, 35);
    assertThat(new SlicedWasserstein(a, 16, 3).distance(b))
        .isCloseTo(Math.sqrt((4 + 25) / 3.0), within(1e-5));
  }

  /// `E (theta.v)^2 = |v|^2 / D`: brighter by 8 levels everywhere is a distance of 8, whatever D.
  @Test
  void aShiftCostsItsRootMeanSquare() {
    Images images = TestImages.uniform(20, 12, 12, 3, 20, 200, 4);
    double distance =
        new SlicedWasserstein(images, 4096, 5).distance(TestImages.brighter(images, 8));
    assertThat(distance).isCloseTo(8, within(0.3));
  }

  @Test
  void repeatsWithItsSeed() {
    Images images = TestImages.uniform(30, 4, 4, 1, 0, 256, 6);
    Images other = TestImages.uniform(25, 4, 4, 1, 0, 200, 7);
    double distance = new SlicedWasserstein(images, 32, 8).distance(other);
    assertThat(new SlicedWasserstein(images, 32, 8).distance(other)).isEqualTo(distance);
    assertThat(new SlicedWasserstein(other, 32, 8).distance(images))
        .isCloseTo(distance, within(1e-9));
    assertThat(new SlicedWasserstein(images, 32, 9).distance(other)).isNotEqualTo(distance);
  }

  @Test
  void refusesAnotherShape() {
    var reference = new SlicedWasserstein(TestImages.of(2, 2, 1, 1, 2, 3, 4), 8, 1);
    assertThatThrownBy(() -> reference.distance(TestImages.of(1, 4, 1, 1, 2, 3, 4)))
        .hasMessage("sliced wasserstein: images must be 2 x 2 x 1, got 1 x 4 x 1");
  }
}
