package io.retort.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.tuple;

import io.retort.checkpoint.CheckpointException;
import io.retort.report.EventsReader.Kind;
import io.retort.report.EventsReader.Value;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Arrays;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class EventsReaderTest {
  @TempDir Path directory;

  private Path golden() throws IOException {
    Path file = directory.resolve("events.out.tfevents.1");
    try (var in = EventsReaderTest.class.getResourceAsStream("/golden/sample.tfevents")) {
      return Files.write(file, Objects.requireNonNull(in).readAllBytes());
    }
  }

  /// Written by PyTorch's SummaryWriter: a scalar, an image, a text and a histogram.
  @Test
  void readsWhatAnotherImplementationWrites() throws Exception {
    EventsReader.Events events = EventsReader.read(golden());
    assertThat(events.version()).isEqualTo("brain.Event:2");
    assertThat(events.torn()).isFalse();
    assertThat(events.values().getFirst())
        .isEqualTo(new Value("loss/g", Kind.SCALAR, 1_700_000_000.25, 3, 0.5f));
    assertThat(events.values())
        .extracting(Value::tag, Value::kind, Value::step)
        .containsExactly(
            tuple("loss/g", Kind.SCALAR, 3L),
            tuple("grid", Kind.IMAGE, 7L),
            tuple("cfg/text_summary", Kind.TENSOR, 0L),
            tuple("h", Kind.HISTOGRAM, 1L));
  }

  @Test
  void readsWhatTheWriterWrites() {
    Path file;
    try (var writer = EventsWriter.open(directory, Instant.EPOCH)) {
      for (int step = 1; step <= 5; step++) {
        writer.scalar("loss", step, step / 4.0, Instant.ofEpochSecond(step));
      }
      file = writer.file();
    }
    assertThat(EventsReader.read(file).values())
        .extracting(Value::scalar)
        .containsExactly(0.25f, 0.5f, 0.75f, 1f, 1.25f);
  }

  @Test
  void aTornEndIsNormalDamageIsNot() throws Exception {
    Path file = golden();
    byte[] whole = Files.readAllBytes(file);
    for (int length = 100; length < whole.length; length += 13) {
      Files.write(file, Arrays.copyOf(whole, length));
      EventsReader.Events events = EventsReader.read(file);
      assertThat(events.values().size()).isLessThan(5);
    }
    for (int at = 0; at < 150; at++) {
      byte[] damaged = whole.clone();
      damaged[at] ^= 4;
      Files.write(file, damaged);
      assertThatThrownBy(() -> EventsReader.read(file))
          .isInstanceOf(CheckpointException.class)
          .hasMessageContaining("does not match its checksum");
    }
    Files.write(file, new byte[0]);
    assertThatThrownBy(() -> EventsReader.read(file))
        .hasMessage(file + ": is no TensorBoard event file");
  }
}
