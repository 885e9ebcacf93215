package io.retort.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.zip.Deflater;
import java.util.zip.DeflaterOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Archives beyond what one buffer can show; the rest is seen through the files that are archives.
class ZipArchiveTest {
  private static final String NAME = "large.bin";
  private static final long PACKED = (1L << 31) + 1000;

  @TempDir private Path directory;

  /// One deflated entry of more than 2 GiB, most of which is a hole in the file.
  private Path large(byte[] first) throws IOException {
    Path file = directory.resolve("large.zip");
    try (var channel =
        FileChannel.open(
            file,
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.SPARSE,
            StandardOpenOption.WRITE)) {
      channel.write(record(0x04034b50, 30).putShort(8, (short) 8).putShort(26, nameBytes()));
      channel.write(name());
      channel.write(ByteBuffer.wrap(first));
      long directory = 30 + nameBytes() + PACKED;
      channel.position(directory);
      channel.write(
          record(0x02014b50, 46)
              .putShort(10, (short) 8)
              .putInt(20, (int) PACKED)
              .putInt(24, (int) PACKED)
              .putShort(28, nameBytes()));
      channel.write(name());
      channel.write(
          record(0x06054b50, 22)
              .putShort(8, (short) 1)
              .putShort(10, (short) 1)
              .putInt(12, 46 + nameBytes())
              .putInt(16, (int) directory));
    }
    return file;
  }

  private static ByteBuffer record(int magic, int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN).putInt(0, magic);
  }

  private static short nameBytes() {
    return (short) NAME.length();
  }

  private static ByteBuffer name() {
    return ByteBuffer.wrap(NAME.getBytes(StandardCharsets.US_ASCII));
  }

  @Test
  void theHeadOfAnEntryOfMoreThanTwoGibibytesIsRead() throws IOException {
    var content = new byte[10_000];
    for (int i = 0; i < content.length; i++) {
      content[i] = (byte) (i * i >> 3);
    }
    var deflated = new ByteArrayOutputStream();
    try (var out =
        new DeflaterOutputStream(deflated, new Deflater(Deflater.BEST_SPEED, true), true)) {
      out.write(content);
    }
    try (ZipArchive archive = ZipArchive.open(large(deflated.toByteArray()))) {
      ZipArchive.Entry entry = archive.entry(NAME);
      assertThat(entry.packed()).isEqualTo(PACKED);
      assertThat(archive.head(entry, content.length)).isEqualTo(content);
      assertThatThrownBy(() -> archive.head(entry, content.length + 1))
          .isInstanceOf(DataException.class)
          .hasMessageEndingWith("ends too early");
      assertThatThrownBy(() -> archive.read(entry, Long.MAX_VALUE))
          .isInstanceOf(DataException.class)
          .hasMessageEndingWith("more than can be read");
    }
  }
}
