package io.retort.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

class DatasetsTest {
  private final Dataset embedded = Datasets.get("fashion-mnist-embedded");

  @Test
  void embeddedSplitsAreBalancedAndUnaltered() {
    assertThat(embedded.train().classCounts(10)).containsOnly(EmbeddedCut.TRAIN_PER_CLASS);
    assertThat(embedded.test().classCounts(10)).containsOnly(EmbeddedCut.TEST_PER_CLASS);
    assertThat(Checksum.sha256(embedded.train().pixels())).isEqualTo(EmbeddedFashion.TRAIN_SHA256);
    assertThat(Checksum.sha256(embedded.test().pixels())).isEqualTo(EmbeddedFashion.TEST_SHA256);
  }

  @Test
  void embeddedPixelsHaveThePublishedMoments() {
    double sum = 0;
    double squares = 0;
    byte[] pixels = embedded.train().pixels();
    for (byte pixel : pixels) {
      double value = Byte.toUnsignedInt(pixel) / 255.0;
      sum += value;
      squares += value * value;
    }
    double mean = sum / pixels.length;
    // Published for all 60,000: mean .2860, deviation .3530; a fifth of them lies within .003.
    assertThat(mean).isBetween(.283, .289);
    assertThat(Math.sqrt(squares / pixels.length - mean * mean)).isBetween(.350, .356);
  }

  @Test
  void embeddedSplitsShareNoImage() {
    assertThat(Collections.disjoint(distinct(embedded.train()), distinct(embedded.test())))
        .isTrue();
  }

  @Test
  void embeddedLicenceAndOriginTravelWithTheData() throws IOException {
    assertThat(resource("fashion-mnist-LICENSE.txt")).contains("MIT", "2017 Zalando SE");
    assertThat(resource("README.txt"))
        .contains(EmbeddedFashion.TRAIN_SHA256, EmbeddedFashion.TEST_SHA256, "2017 + class");
  }

  @Test
  void cuttingAgainGivesTheEmbeddedSplits() {
    var full = IdxPackage.FASHION_MNIST.in(Datasets.directory().resolve("fashion-mnist"));
    assumeTrue(full.available(), "run `retort data fetch fashion-mnist` to check the cut itself");

    assertThat(EmbeddedCut.cut(full.train(), EmbeddedCut.TRAIN_PER_CLASS))
        .isEqualTo(embedded.train());
    assertThat(EmbeddedCut.cut(full.test(), EmbeddedCut.TEST_PER_CLASS)).isEqualTo(embedded.test());
  }

  @Test
  void cutIsBalancedAndTakesOnlyOfItsClass() {
    var labels = new byte[60];
    var pixels = new byte[60];
    for (int i = 0; i < 60; i++) {
      labels[i] = (byte) (i * 7 % 10);
      pixels[i] = (byte) i;
    }
    var cut = EmbeddedCut.cut(new Images(60, 1, 1, 1, pixels, labels), 3);

    assertThat(cut.count()).isEqualTo(30);
    for (int i = 0; i < 30; i++) {
      assertThat(cut.label(i)).isEqualTo(i % 10);
      assertThat(cut.pixels()[i] * 7 % 10).isEqualTo(i % 10);
    }
  }

  @Test
  void everyKnownSetSaysWhereItComesFrom() {
    assertThat(Datasets.list())
        .extracting(Dataset::name)
        .containsExactly("fashion-mnist-embedded", "fashion-mnist", "mnist");
    for (var set : Datasets.list()) {
      assertThat(set.card().licence()).isNotBlank();
      assertThat(set.card().source()).isNotBlank();
      assertThat(set.card().checksum()).matches("[0-9a-f]{64} .*");
      assertThat(set.card().classes()).hasSize(10);
      assertThat(set.card().flipAllowed()).isFalse();
    }
  }

  @Test
  void unknownNamesAreAnsweredWithTheKnownOnes() {
    assertThatThrownBy(() -> Datasets.get("cifar"))
        .isInstanceOf(DataException.class)
        .hasMessage(
            "cifar: is not a known data set, nor a path; known are fashion-mnist-embedded,"
                + " fashion-mnist, mnist");
  }

  @Test
  void directoryFollowsTheEnvironment() {
    assertThat(Datasets.directory(Map.of("RETORT_DATA", "/data"))).isEqualTo(Path.of("/data"));
    assertThat(Datasets.directory(Map.of()))
        .isEqualTo(Path.of(System.getProperty("user.home"), ".cache/retort/data"));
  }

  private static Set<String> distinct(Images images) {
    int size = images.imageSize();
    var contents = new HashSet<String>();
    for (int i = 0; i < images.count(); i++) {
      contents.add(new String(images.pixels(), i * size, size, StandardCharsets.ISO_8859_1));
    }
    return contents;
  }

  private static String resource(String name) throws IOException {
    try (var in = EmbeddedFashion.class.getResourceAsStream(name)) {
      assertThat(in).isNotNull();
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }
  }
}
