package io.retort.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class EventsWriterTest {
  @TempDir Path directory;

  /// The golden file, written by another implementation, holds a scalar and an image as its second
  /// and third record.
  @Test
  void writesTheRecordsAnotherImplementationWrites() throws Exception {
    List<byte[]> golden = records(golden());
    byte[] picture = golden.get(2);
    byte[] png = Arrays.copyOfRange(picture, picture.length - 69, picture.length);
    Path file;
    try (var events = EventsWriter.open(directory, Instant.ofEpochSecond(1_700_000_000))) {
      events.scalar("loss/g", 3, 0.5, Instant.ofEpochMilli(1_700_000_000_250L));
      events.image("grid", 7, png, 4, 6, Instant.ofEpochSecond(1_700_000_001));
      file = events.file();
    }
    List<byte[]> written = records(Files.readAllBytes(file));
    assertThat(written).hasSize(3);
    assertThat(written.get(0)).endsWith("brain.Event:2".getBytes(StandardCharsets.US_ASCII));
    assertThat(written.get(1)).isEqualTo(golden.get(1));
    assertThat(written.get(2)).isEqualTo(golden.get(2));
  }

  @Test
  void namesTheFileSoThatTensorBoardFindsItAndNeverReusesOne() {
    Instant at = Instant.ofEpochSecond(1_700_000_000);
    try (var first = EventsWriter.open(directory, at);
        var second = EventsWriter.resume(directory, 400, at)) {
      assertThat(first.file().getFileName()).hasToString("events.out.tfevents.1700000000.retort.0");
      assertThat(second.file()).isNotEqualTo(first.file());
    }
  }

  @Test
  void aResumedFileStartsWithTheStepThatIsForgotten() throws Exception {
    Path file;
    try (var events = EventsWriter.resume(directory, 400, Instant.EPOCH)) {
      file = events.file();
    }
    byte[] start = records(Files.readAllBytes(file)).get(1);
    assertThat(Arrays.copyOfRange(start, 9, start.length))
        .isEqualTo(new byte[] {0x10, (byte) 0x91, 0x03, 0x3a, 2, 8, 1});
  }

  @Test
  void everyRecordIsOnDiskWhenItsCallReturns() throws Exception {
    try (var events = EventsWriter.open(directory, Instant.EPOCH)) {
      for (int step = 1; step <= 3; step++) {
        events.scalar("loss", step, step, Instant.EPOCH);
        assertThat(records(Files.readAllBytes(events.file()))).hasSize(step + 1);
      }
    }
  }

  @Test
  void aMissingDirectoryGivesOneSentence() {
    Path absent = directory.resolve("absent");
    assertThatThrownBy(() -> EventsWriter.open(absent, Instant.EPOCH))
        .isInstanceOf(UncheckedIOException.class)
        .hasMessageEndingWith("retort.0: no such file or directory");
  }

  private static byte[] golden() throws IOException {
    try (InputStream in = EventsWriterTest.class.getResourceAsStream("/golden/sample.tfevents")) {
      return Objects.requireNonNull(in).readAllBytes();
    }
  }

  /// The data of every record, both checksums checked.
  private static List<byte[]> records(byte[] file) {
    var records = new ArrayList<byte[]>();
    ByteBuffer in = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
    while (in.hasRemaining()) {
      int start = in.position();
      long length = in.getLong();
      assertThat(in.getInt()).isEqualTo(masked(Arrays.copyOfRange(file, start, start + 8)));
      var data = new byte[(int) length];
      in.get(data);
      assertThat(in.getInt()).isEqualTo(masked(data));
      records.add(data);
    }
    return records;
  }

  private static int masked(byte[] data) {
    var crc = new CRC32C();
    crc.update(data);
    long c = crc.getValue();
    return (int) (((c >>> 15) | (c << 17 & 0xffff_ffffL)) + 0xa282ead8L);
  }
}
