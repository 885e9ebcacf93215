package io.retort.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import java.util.zip.GZIPOutputStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class IdxFileTest {
  @TempDir Path folder;

  @Test
  void readsImagesAndLabelsPlainAndGzipped() throws IOException {
    byte[] pixels = {0, 1, 2, 3, 4, 5, (byte) 255, 7, 8, 9, 10, 11};
    Path images = write("images", idx(pixels, 2, 2, 3));
    Path labels = write("labels.gz", gzip(idx(new byte[] {4, 9}, 2)));

    var read = IdxFile.readImages(images, labels, 10);

    assertThat(read).isEqualTo(new Images(2, 2, 3, 1, pixels, new byte[] {4, 9}));
  }

  @Test
  void rejectsWrongMagicTypeAndRank() {
    byte[] sound = idx(new byte[6], 6);
    for (int at = 0; at < 4; at++) {
      byte[] wrong = sound.clone();
      wrong[at] ^= 5;
      assertRejected(wrong, "must be an IDX file of unsigned bytes with rank 1");
    }
  }

  @Test
  void rejectsSizesThatAreZeroNegativeOrOverTheLimits() {
    assertRejected(idx(new byte[0], 0), "size 0 must be in 1..10000000, got 0");
    assertRejected(idx(new byte[4], -1), "got 4294967295");
    assertRejected(idx(new byte[4], 10_000_001), "got 10000001");
    assertThatThrownBy(() -> IdxFile.read(write("wide", idx(new byte[4], 1, 4097, 1)), 3))
        .hasMessageContaining("size 1 must be in 1..4096, got 4097");
    assertThatThrownBy(() -> IdxFile.read(write("big", idx(new byte[4], 100, 4096, 4096)), 3))
        .hasMessageContaining("must hold at most 1073741824 values");
  }

  @Test
  void rejectsMissingAndSurplusBytes() {
    assertRejected(idx(new byte[5], 6), "6 bytes must follow the header, got 5");
    assertRejected(idx(new byte[7], 6), "6 bytes must follow the header, got more");
    assertRejected(new byte[0], "is truncated");
    assertRejected(Arrays.copyOf(idx(new byte[6], 6), 7), "is truncated");
  }

  @Test
  void doesNotUnpackMoreOfAGzipBombThanTheHeaderDeclares() {
    assertRejected(gzip(idx(new byte[20_000_000], 3)), "3 bytes must follow the header, got more");
  }

  @Test
  void rejectsDamagedGzip() {
    byte[] packed = gzip(idx(new byte[600], 600));
    assertRejected(Arrays.copyOf(packed, packed.length - 9), "is truncated");
    packed[packed.length - 8] ^= 1;
    assertRejected(packed, "is not a sound gzip file");
  }

  @Test
  void rejectsWrongLabelsAndCounts() throws IOException {
    Path images = write("images", idx(new byte[8], 2, 2, 2));
    Path three = write("three", idx(new byte[3], 3));
    Path high = write("high", idx(new byte[] {9, 10}, 2));

    assertThatThrownBy(() -> IdxFile.readImages(images, three, 10))
        .hasMessage(three + ": must hold one label per image, got 3 labels for 2 images");
    assertThatThrownBy(() -> IdxFile.readImages(images, high, 10))
        .hasMessage(high + ": label 1 must be below 10, got 10");
  }

  @Test
  void namesAFileThatCannotBeRead() {
    Path missing = folder.resolve("missing");
    assertThatThrownBy(() -> IdxFile.read(missing, 1)).hasMessage(missing + ": does not exist");
    assertThatThrownBy(() -> IdxFile.read(folder, 1)).isInstanceOf(DataException.class);
  }

  @Property(tries = 300)
  void damageIsAlwaysADataException(@ForAll long seed, @ForAll @IntRange(max = 40) int length)
      throws IOException {
    var random = new Random(seed);
    byte[] bytes = idx(new byte[24], 24);
    for (int i = 0; i < 3; i++) {
      bytes[random.nextInt(8)] = (byte) random.nextInt();
    }
    Path file = Files.createTempFile("retort", ".idx");
    try {
      Files.write(file, Arrays.copyOf(bytes, length));
      assertThat(IdxFile.read(file, 1).values()).hasSize(length - 8);
    } catch (DataException expected) {
      assertThat(expected).hasMessageStartingWith(file + ": ");
    } finally {
      Files.delete(file);
    }
  }

  private void assertRejected(byte[] content, String reason) {
    assertThatThrownBy(() -> IdxFile.read(write("bad", content), 1))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith(folder.resolve("bad") + ": ")
        .hasMessageContaining(reason);
  }

  private Path write(String name, byte[] content) throws IOException {
    return Files.write(folder.resolve(name), content);
  }

  static byte[] idx(byte[] values, int... sizes) {
    var bytes = new ByteArrayOutputStream();
    try (var out = new DataOutputStream(bytes)) {
      out.writeInt(0x0800 | sizes.length);
      for (int size : sizes) {
        out.writeInt(size);
      }
      out.write(values);
    } catch (IOException impossible) {
      throw new UncheckedIOException(impossible);
    }
    return bytes.toByteArray();
  }

  static byte[] gzip(byte[] content) {
    var bytes = new ByteArrayOutputStream();
    try (var out = new GZIPOutputStream(bytes)) {
      out.write(content);
    } catch (IOException impossible) {
      throw new UncheckedIOException(impossible);
    }
    return bytes.toByteArray();
  }
}
