package io.retort.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class PictureDatasetTest {
  @TempDir private Path directory;

  @Test
  void readsEdmsZip() {
    Path file = Pictures.edmZip(directory.resolve("set.zip"), 25, 8, 3, 4);
    Dataset set = Datasets.get(file.toString());
    assertThat(set.name()).isEqualTo(file.toString());
    assertThat(set.card())
        .extracting(DataCard::height, DataCard::width, DataCard::channels)
        .containsExactly(8, 8, 3);
    assertThat(set.card().classes()).containsExactly("0", "1", "2", "3");
    assertThat(set.card().flipAllowed()).isFalse();
    assertThat(set.card().source())
        .isEqualTo("23 pictures to learn from, every tenth, 2, held out");
    Images train = set.train();
    Images test = set.test();
    assertThat(train.count()).isEqualTo(23);
    assertThat(test.count()).isEqualTo(2);
    assertThat(test.label(0)).isEqualTo(9 % 4);
    assertThat(Arrays.copyOf(test.pixels(), 192)).isEqualTo(Pictures.picture(8, 8, 3, 9).pixels());
    assertThat(train.label(10)).isEqualTo(11 % 4);
  }

  /// What a step sees does not depend on whether pixels lie in memory or are decoded on demand.
  @Test
  void theSourceGivesWhatTheImagesGive() {
    Path file = Pictures.edmZip(directory.resolve("set.zip"), 30, 8, 1, 3);
    Dataset set = Datasets.get(file.toString());
    var decoded = new BatchSampler(set.trainingSource(), 7, 3, 0, true);
    var loaded = new BatchSampler(set.train(), 7, 3, 0, true);
    for (int step = 0; step < 9; step++) {
      assertThat(decoded.batch(step).images()).isEqualTo(loaded.batch(step).images());
      assertThat(decoded.batch(step).labels()).isEqualTo(loaded.batch(step).labels());
    }
    assertThat(set.trainingSource().select(3, 0)).isEqualTo(set.train().select(3, 0));
  }

  @Test
  void readsEdmsFolderWithoutLabels() {
    Map<String, byte[]> files = new LinkedHashMap<>();
    for (int i = 0; i < 12; i++) {
      files.put("0000%d/img%08d.png".formatted(i % 2, i), Pictures.png(4, 4, 1, i));
    }
    files.put("dataset.json", "{\"labels\": null}".getBytes(StandardCharsets.UTF_8));
    files.put("._hidden.png", new byte[] {1});
    files.put("README.txt", new byte[] {1});
    Dataset set = Datasets.get(Pictures.folder(directory.resolve("edm"), files).toString());
    assertThat(set.card().classes()).containsExactly("all");
    assertThat(set.train().count() + set.test().count()).isEqualTo(12);
  }

  @Test
  void aFolderAClass() {
    Map<String, byte[]> files = new LinkedHashMap<>();
    for (int i = 0; i < 10; i++) {
      files.put("dogs/%d.png".formatted(i), Pictures.png(4, 6, 1, i));
      files.put("cats/deep/%d.PNG".formatted(i), Pictures.png(4, 6, 3, 100 + i));
    }
    Dataset set = Datasets.get(Pictures.folder(directory.resolve("pets"), files).toString());
    assertThat(set.card().classes()).containsExactly("cats", "dogs");
    assertThat(set.card())
        .extracting(DataCard::height, DataCard::width, DataCard::channels)
        .containsExactly(4, 6, 3);
    assertThat(set.train().classCounts(2)).containsExactly(9, 9);
    assertThat(set.test().classCounts(2)).containsExactly(1, 1);
    Images grey = set.test().select(1);
    byte[] expected = Pictures.picture(4, 6, 1, 9).pixels();
    for (int i = 0; i < 24; i++) {
      assertThat(Arrays.copyOfRange(grey.pixels(), 3 * i, 3 * i + 3)).containsOnly(expected[i]);
    }
  }

  @Test
  void trainAndTestFoldersAreTheSplits() {
    Map<String, byte[]> files = new LinkedHashMap<>();
    for (int i = 0; i < 6; i++) {
      files.put("train/%s/%d.png".formatted(i % 2 == 0 ? "a" : "b", i), Pictures.png(4, 4, 1, i));
      files.put("val/%s/%d.png".formatted(i % 3 == 0 ? "a" : "b", i), Pictures.png(4, 4, 1, 9 + i));
    }
    Dataset set = Datasets.get(Pictures.folder(directory.resolve("split"), files).toString());
    assertThat(set.card().classes()).containsExactly("a", "b");
    assertThat(set.train().classCounts(2)).containsExactly(3, 3);
    assertThat(set.test().classCounts(2)).containsExactly(2, 4);
  }

  @Test
  void severalFoldersMayBeHeldOut() {
    Map<String, byte[]> files = new LinkedHashMap<>();
    for (int i = 0; i < 4; i++) {
      String named = "%s/%d.png".formatted(i % 2 == 0 ? "ants" : "bees", i);
      files.put("train/" + named, Pictures.png(4, 4, 1, i));
      files.put("test/" + named, Pictures.png(4, 4, 1, 10 + i));
      files.put("val/" + named, Pictures.png(4, 4, 1, 20 + i));
      files.put("validation/" + named, Pictures.png(4, 4, 1, 30 + i));
    }
    Dataset set = Datasets.get(Pictures.folder(directory.resolve("three"), files).toString());
    assertThat(set.card().classes()).containsExactly("ants", "bees");
    assertThat(set.train().classCounts(2)).containsExactly(2, 2);
    assertThat(set.test().classCounts(2)).containsExactly(6, 6);
  }

  /// A JPEG whose size stands behind `before` bytes of other segments.
  private static byte[] jpegWithSizeBehind(int before) {
    byte[] plain = Pictures.encoded(new BufferedImage(16, 8, BufferedImage.TYPE_INT_RGB), "jpg");
    ByteBuffer bytes = ByteBuffer.allocate(plain.length + before + 8);
    bytes.put(plain, 0, 2);
    while (before > 0) {
      int length = Math.min(before, 60_000);
      bytes.putShort((short) 0xffe2).putShort((short) (length + 2)).put(new byte[length]);
      before -= length;
    }
    bytes.put(plain, 2, plain.length - 2);
    return Arrays.copyOf(bytes.array(), bytes.position());
  }

  @Test
  void fewBytesAreReadForASizeUnlessAJpegNeedsMore() {
    for (int before : new int[] {0, 100, 16_300, 16_370, 70_000}) {
      byte[] jpeg = jpegWithSizeBehind(before);
      List<Integer> asked = new ArrayList<>();
      PictureHeader header =
          PictureHeader.read(
              "x.jpg",
              count -> {
                asked.add(count);
                return Arrays.copyOf(jpeg, Math.min(count, jpeg.length));
              },
              jpeg.length);
      assertThat(header.width()).isEqualTo(16);
      assertThat(header.height()).isEqualTo(8);
      assertThat(asked).hasSize(before < 16_000 ? 1 : 2).first().isEqualTo(1 << 14);
    }
  }

  @Test
  void jpegsArePicturesToo() {
    Map<String, byte[]> files = new LinkedHashMap<>();
    var flat = new BufferedImage(16, 16, BufferedImage.TYPE_INT_RGB);
    for (int i = 0; i < 256; i++) {
      flat.setRGB(i % 16, i / 16, 0x2080c0);
    }
    var grey = new BufferedImage(16, 16, BufferedImage.TYPE_BYTE_GRAY);
    for (int i = 0; i < 256; i++) {
      grey.getRaster().setSample(i % 16, i / 16, 0, 77);
    }
    files.put("a.jpg", Pictures.encoded(flat, "jpg"));
    files.put("b.jpeg", Pictures.encoded(grey, "jpg"));
    Dataset set = Datasets.get(Pictures.folder(directory.resolve("photos"), files).toString());
    byte[] colour = set.train().pixels();
    assertThat(colour[0] & 0xff).isBetween(0x1d, 0x23);
    assertThat(colour[1] & 0xff).isBetween(0x7d, 0x83);
    assertThat(colour[2] & 0xff).isBetween(0xbd, 0xc3);
    assertThat(set.test().pixels()).containsOnly((byte) 77);
  }

  @Test
  void everyKindOfPngIsRead() {
    var palette =
        new IndexColorModel(
            2, 4, new byte[] {0, 50, 100, -1}, new byte[4], new byte[] {9, 8, 7, 6});
    var indexed = new BufferedImage(4, 4, BufferedImage.TYPE_BYTE_BINARY, palette);
    indexed.getRaster().setSample(0, 0, 0, 2);
    assertThat(decode(indexed, 3)).startsWith(100, 0, 7, 0, 0, 9);
    var deep = new BufferedImage(4, 4, BufferedImage.TYPE_USHORT_GRAY);
    deep.getRaster().setSample(0, 0, 0, 0x8042);
    assertThat(decode(deep, 1)).startsWith((byte) 0x80, (byte) 0);
    var bits = new BufferedImage(4, 4, BufferedImage.TYPE_BYTE_BINARY);
    bits.getRaster().setSample(1, 0, 0, 1);
    assertThat(decode(bits, 1)).startsWith((byte) 0, (byte) -1, (byte) 0);
  }

  private static byte[] decode(BufferedImage image, int channels) {
    return Picture.decode("x.png", Pictures.encoded(image, "png"), 4, 4, channels);
  }

  @Test
  void transparencyIsLaidOverWhite() {
    var rgba = new Png(1, 2, 4, new byte[] {10, 20, 30, 0, 10, 20, 30, -1});
    assertThat(Picture.opaque(rgba, 3)).containsExactly(-1, -1, -1, 10, 20, 30);
    var half = new Png(1, 1, 2, new byte[] {0, (byte) 128});
    assertThat(Picture.opaque(half, 1)).containsExactly(127);
    assertThat(Picture.opaque(half, 3)).containsExactly(127, 127, 127);
  }

  @Test
  void sizesMustBeEqual() {
    Path folder =
        Pictures.folder(
            directory.resolve("sizes"),
            Map.of("a.png", Pictures.png(4, 4, 1, 1), "b.png", Pictures.png(5, 4, 1, 1)));
    assertThatThrownBy(() -> Datasets.get(folder.toString()))
        .isInstanceOf(DataException.class)
        .hasMessage(
            folder.resolve("b.png")
                + ": must be 4x4 as the first picture is, got 5x4; bring all to one size first");
  }

  @Test
  void damageIsOneSentence() throws Exception {
    Path empty = Files.createDirectory(directory.resolve("empty"));
    assertThatThrownBy(() -> Datasets.get(empty.toString()))
        .hasMessage(empty + ": must hold .png or .jpg pictures, at least two, got 0");
    Path text =
        Files.writeString(directory.resolve("notes.txt"), "hello, this is no archive at all");
    assertThatThrownBy(() -> Datasets.get(text.toString()))
        .hasMessage(text + ": is not a zip file, or is truncated");
    byte[] cut = Arrays.copyOf(Pictures.png(4, 4, 1, 1), 50);
    Path folder =
        Pictures.folder(
            directory.resolve("damaged"), Map.of("a.png", cut, "b.png", Pictures.png(4, 4, 1, 2)));
    Dataset set = Datasets.get(folder.toString());
    assertThatThrownBy(set::train)
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith(folder.resolve("a.png") + ": ");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{\"labels\": [[\"a.png\", 1]]}", // b.png has none
        "{\"labels\": [[\"a.png\", 1], [\"b.png\", [1.0, 0.0]]]}",
        "{\"labels\": [[\"a.png\", 1], [\"b.png\", 1.5]]}",
        "{\"labels\": [[\"a.png\", 1], [\"b.png\", -1]]}",
        "{\"labels\": [[\"a.png\", 1], [\"b.png\", 99999999]]}",
        "{\"labels\": [[\"a.png\", 1], [\"a.png\", 1], [\"b.png\", 1]]}",
        "{\"labels\": [[\"a.png\", 1, 2], [\"b.png\", 1]]}",
        "{\"labels\": {\"a.png\": 1}}",
        "{\"labels\": [",
        ""
      })
  void badLabelsAreRefused(String json) {
    Path folder =
        Pictures.folder(
            directory.resolve("labels"),
            Map.of(
                "a.png", Pictures.png(4, 4, 1, 1),
                "b.png", Pictures.png(4, 4, 1, 2),
                "dataset.json", json.getBytes(StandardCharsets.UTF_8)));
    assertThatThrownBy(() -> Datasets.get(folder.toString()))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith(folder.resolve("dataset.json") + ": ");
  }

  @ParameterizedTest
  @CsvSource({"100000, 100000", "0, 4", "4, -1", "4000, 4000"})
  void aHeaderCannotAskForMoreThanTheFileCanHold(int width, int height) {
    byte[] png = Pictures.png(4, 4, 1, 1);
    ByteBuffer.wrap(png).putInt(16, width).putInt(20, height);
    assertThatThrownBy(() -> PictureHeader.read("x.png", count -> png, png.length))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("more than it can hold");
  }
}
