package io.retort.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// CIFAR and IDX folders named by their path; pictures are in [PictureDatasetTest].
class DataPathTest {
  @TempDir private Path directory;

  /// Records whose red plane counts up, green is the label, blue is 200.
  private static byte[] cifar(int count, int labelBytes, int classes) {
    ByteBuffer bytes = ByteBuffer.allocate(count * (labelBytes + 3072));
    for (int i = 0; i < count; i++) {
      for (int b = 0; b < labelBytes; b++) {
        bytes.put((byte) (b == labelBytes - 1 ? i % classes : 3));
      }
      for (int p = 0; p < 3072; p++) {
        bytes.put((byte) (p < 1024 ? p : p < 2048 ? i % classes : 200));
      }
    }
    return bytes.array();
  }

  @Test
  void readsCifar10() throws IOException {
    Files.write(directory.resolve("data_batch_1.bin"), cifar(12, 1, 10));
    for (int i = 2; i <= 5; i++) {
      Files.write(directory.resolve("data_batch_" + i + ".bin"), cifar(5, 1, 10));
    }
    Files.write(directory.resolve("test_batch.bin"), cifar(3, 1, 10));
    Files.writeString(
        directory.resolve("batches.meta.txt"),
        "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
    Dataset set = Datasets.get(directory.toString());
    assertThat(set.card().classes()).hasSize(10).startsWith("airplane").endsWith("truck");
    assertThat(set.card().flipAllowed()).isTrue();
    assertThat(set.card().source()).isEqualTo("CIFAR-10, 32 images to learn from, 3 held out");
    Images train = set.train();
    assertThat(train.count()).isEqualTo(32);
    assertThat(train.label(13)).isEqualTo(1);
    int at = (13 * 1024 + 5 * 32 + 7) * 3;
    assertThat(train.pixels()[at]).isEqualTo((byte) (5 * 32 + 7));
    assertThat(train.pixels()[at + 1]).isEqualTo((byte) 1);
    assertThat(train.pixels()[at + 2]).isEqualTo((byte) 200);
    assertThat(set.test().count()).isEqualTo(3);
  }

  @Test
  void readsTheFineClassesOfCifar100() throws IOException {
    Files.write(directory.resolve("train.bin"), cifar(30, 2, 100));
    Files.write(directory.resolve("test.bin"), cifar(4, 2, 100));
    Dataset set = Datasets.get(directory.toString());
    assertThat(set.card().classes()).hasSize(100);
    assertThat(set.train().label(29)).isEqualTo(29);
  }

  @Test
  void damagedCifarIsRefused() throws IOException {
    Files.write(directory.resolve("data_batch_1.bin"), new byte[3072]);
    for (int i : new int[] {2, 4}) {
      Files.write(directory.resolve("data_batch_" + i + ".bin"), cifar(2, 1, 10));
    }
    assertThatThrownBy(() -> Datasets.get(directory.toString()))
        .isInstanceOf(DataException.class)
        .hasMessage(
            directory
                + ": must hold all five batches of CIFAR-10, but lacks data_batch_3.bin,"
                + " data_batch_5.bin");
    for (int i : new int[] {3, 5}) {
      Files.write(directory.resolve("data_batch_" + i + ".bin"), cifar(2, 1, 10));
    }
    Files.write(directory.resolve("test_batch.bin"), cifar(3, 1, 10));
    assertThatThrownBy(() -> Datasets.get(directory.toString()))
        .hasMessage(
            directory.resolve("data_batch_1.bin")
                + ": must be records of 3073 bytes, got 3072 bytes");
    Files.write(directory.resolve("data_batch_1.bin"), cifar(20, 1, 11));
    Dataset set = Datasets.get(directory.toString());
    assertThatThrownBy(set::train).hasMessageEndingWith("labels must be below 10, got 10");
    Files.delete(directory.resolve("test_batch.bin"));
    assertThatThrownBy(() -> Datasets.get(directory.toString()))
        .hasMessageEndingWith("test_batch.bin: does not exist");
  }

  @Test
  void pythonObjectsAreNotRead() throws IOException {
    Files.write(directory.resolve("data_batch_1"), new byte[] {(byte) 0x80, 2});
    assertThatThrownBy(() -> Datasets.get(directory.toString()))
        .hasMessage(directory + ": holds CIFAR as Python objects; take its binary version instead");
  }

  @Test
  void readsIdxFilesPlainOrGzipped() throws IOException {
    Files.write(directory.resolve(IdxPackage.TRAIN_IMAGES), idx(4, 6, 5));
    Files.write(directory.resolve(IdxPackage.TRAIN_LABELS + ".gz"), gzip(idxLabels(4)));
    Files.write(directory.resolve(IdxPackage.TEST_IMAGES + ".gz"), gzip(idx(2, 6, 5)));
    Files.write(directory.resolve(IdxPackage.TEST_LABELS), idxLabels(2));
    Dataset set = Datasets.get(directory.toString());
    assertThat(set.card())
        .extracting(DataCard::height, DataCard::width, DataCard::channels)
        .containsExactly(6, 5, 1);
    assertThat(set.card().classes()).hasSize(4);
    assertThat(set.train().count()).isEqualTo(4);
    assertThat(set.test().count()).isEqualTo(2);
    Files.delete(directory.resolve(IdxPackage.TEST_LABELS));
    assertThatThrownBy(() -> Datasets.get(directory.toString()))
        .hasMessageEndingWith("t10k-labels-idx1-ubyte: is missing beside the others");
  }

  @Test
  void aNameThatLastsIsAbsolute() throws IOException {
    assertThat(Datasets.lastingName("fashion-mnist-embedded")).isEqualTo("fashion-mnist-embedded");
    assertThat(Datasets.lastingName("nowhere\0")).isEqualTo("nowhere\0");
    Path relative = Path.of("").toAbsolutePath().relativize(directory.toAbsolutePath());
    assertThat(Datasets.lastingName(relative.toString()))
        .isEqualTo(directory.toAbsolutePath().normalize().toString());
  }

  private static byte[] idx(int count, int height, int width) {
    ByteBuffer bytes = ByteBuffer.allocate(16 + count * height * width);
    return bytes.putInt(0x803).putInt(count).putInt(height).putInt(width).array();
  }

  private static byte[] idxLabels(int count) {
    ByteBuffer bytes = ByteBuffer.allocate(8 + count).putInt(0x801).putInt(count);
    for (int i = 0; i < count; i++) {
      bytes.put((byte) i);
    }
    return bytes.array();
  }

  private static byte[] gzip(byte[] content) throws IOException {
    var bytes = new ByteArrayOutputStream();
    try (var out = new GZIPOutputStream(bytes)) {
      out.write(content);
    }
    return bytes.toByteArray();
  }
}
