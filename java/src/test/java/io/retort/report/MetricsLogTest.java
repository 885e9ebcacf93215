package io.retort.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class MetricsLogTest {
  @TempDir Path directory;

  @Test
  void aLineIsOnDiskWhenItsCallReturns() throws Exception {
    Path file = directory.resolve("metrics.jsonl");
    try (var log = MetricsLog.create(file)) {
      log.append(1, Map.of("loss", 0.5));
      assertThat(file).hasContent("{\"step\":1,\"loss\":0.5}");
      log.append(2, Map.of("loss", Double.NaN));
    }
    assertThat(Files.readString(file))
        .isEqualTo("{\"step\":1,\"loss\":0.5}\n{\"step\":2,\"loss\":null}\n");
  }

  @Test
  void aResumedLogReadsAsIfTheRunHadNeverStopped() throws Exception {
    Path whole = directory.resolve("whole.jsonl");
    try (var log = MetricsLog.create(whole)) {
      append(log, 1, 6);
    }
    Path stopped = directory.resolve("stopped.jsonl");
    try (var log = MetricsLog.create(stopped)) {
      append(log, 1, 5);
    }
    Files.writeString(stopped, "{\"step\":6,\"lo", StandardOpenOption.APPEND);
    try (var log = MetricsLog.resume(stopped, 3)) {
      append(log, 4, 6);
    }
    assertThat(stopped).hasSameBinaryContentAs(whole);
  }

  @Test
  void resumingDropsDamagedLinesAndStartsAMissingLog() throws Exception {
    Path file = directory.resolve("metrics.jsonl");
    try (var log = MetricsLog.resume(file, 7)) {
      append(log, 1, 1);
    }
    Files.writeString(file, "\u0000\u0000\n[]\n{\"step\":\"2\"}\n{\"step\":2}\n{\"step\":2}");
    MetricsLog.resume(file, 2).close();
    assertThat(Files.readString(file)).isEqualTo("{\"step\":2}\n");
  }

  @Test
  void readsBackWhatIsWhole() throws Exception {
    Path file = directory.resolve("metrics.jsonl");
    Files.writeString(file, "{\"step\":1,\"loss\":2.5}\n{\"step\":2,");
    assertThat(MetricsLog.read(file)).containsExactly(Map.of("step", 1L, "loss", 2.5));
  }

  @Test
  void anUnwritablePlaceGivesOneSentence() {
    Path file = directory.resolve("absent/metrics.jsonl");
    assertThatThrownBy(() -> MetricsLog.create(file))
        .isInstanceOf(UncheckedIOException.class)
        .hasMessage(file + ": no such file or directory");
  }

  private static void append(MetricsLog log, int from, int to) {
    for (int step = from; step <= to; step++) {
      log.append(step, Map.of("loss", 1.0 / step));
    }
  }
}
