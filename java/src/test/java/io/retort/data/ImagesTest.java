package io.retort.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class ImagesTest {
  private static final Images TWO =
      new Images(
          2,
          1,
          2,
          3,
          new byte[] {0, 1, 2, 10, 11, 12, 20, 21, 22, -1, -2, -3},
          new byte[] {7, -56});

  @Test
  void quantiseInvertsUnitForEveryByte() {
    var bytes = new byte[256];
    for (int i = 0; i < 256; i++) {
      bytes[i] = (byte) i;
    }
    assertThat(ImageBytes.quantise(ImageBytes.toUnit(bytes))).isEqualTo(bytes);
    assertThat(ImageBytes.unit(0)).isEqualTo(-1f);
    assertThat(ImageBytes.unit(255)).isEqualTo(1f);
  }

  @Test
  void quantiseClipsAndRoundsToTheNearest() {
    float half = 0.5f / 127.5f;
    assertThat(ImageBytes.quantise(new float[] {-3, 3, -1 + half * 0.99f, -1 + half * 1.01f}))
        .containsExactly(0, 255, 0, 1);
  }

  @Test
  void quantiseRefusesBrokenSamples() {
    assertThatThrownBy(() -> ImageBytes.quantise(new float[] {0, Float.NaN}))
        .isInstanceOf(DataException.class)
        .hasMessage("images: value 1 must be finite, got NaN");
  }

  @Test
  void copiesPlainAndMirroredKeepingChannelOrder() {
    var plain = new float[7];
    TWO.copyUnit(1, false, plain, 1);
    assertThat(plain)
        .containsExactly(0, unit(20), unit(21), unit(22), unit(255), unit(254), unit(253));

    var mirrored = new float[6];
    TWO.copyUnit(1, true, mirrored, 0);
    assertThat(mirrored)
        .containsExactly(unit(255), unit(254), unit(253), unit(20), unit(21), unit(22));
  }

  @Test
  void labelsAreUnsignedAndSelectKeepsThemWithTheirImages() {
    assertThat(TWO.label(1)).isEqualTo(200);
    var selected = TWO.select(1, 0, 1);
    assertThat(selected.count()).isEqualTo(3);
    assertThat(selected.label(0)).isEqualTo(200);
    assertThat(selected.select(1)).isEqualTo(TWO.select(0));
    assertThatThrownBy(() -> TWO.select(2)).isInstanceOf(IndexOutOfBoundsException.class);
  }

  @Test
  void arraysMustFitTheSizes() {
    assertThatThrownBy(() -> new Images(1, 2, 2, 1, new byte[3], new byte[1]))
        .hasMessage("images: arrays must hold 4 pixel bytes and 1 labels, got 3 and 1");
    assertThatThrownBy(() -> new Batch(new float[4], new int[1], new long[2], 1, 2, 2, 1))
        .hasMessageContaining("got 4, 1 and 2");
  }

  private static float unit(int value) {
    return ImageBytes.unit(value);
  }
}
