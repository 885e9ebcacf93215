package io.retort.report;

import io.retort.checkpoint.AtomicFile;
import io.retort.data.Json;
import io.retort.data.Json.JsonException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/// `metrics.jsonl`: one JSON object a line, `step` first, appended in one write each.
///
/// [#resume] takes back what an interrupted run wrote after its last checkpoint, so that the log of
/// a resumed run reads as if it had never stopped. NaN and infinities are written as `null`.
public final class MetricsLog implements AutoCloseable {
  private static final String STEP = "step";

  private final Path file;
  private final FileChannel channel;

  private MetricsLog(Path file, FileChannel channel) {
    this.file = file;
    this.channel = channel;
  }

  /// Starts an empty log, replacing what is there.
  ///
  /// @throws java.io.UncheckedIOException if it cannot be written
  public static MetricsLog create(Path file) {
    return open(file, StandardOpenOption.TRUNCATE_EXISTING);
  }

  /// Continues a log after `step`: drops a torn last line, unreadable lines, and lines of later
  /// steps. A missing log is started.
  public static MetricsLog resume(Path file, long step) {
    try {
      if (Files.exists(file)) {
        dropAfter(file, step);
      }
    } catch (IOException failure) {
      throw AtomicFile.failure(file, failure);
    }
    return open(file, StandardOpenOption.APPEND);
  }

  /// Every readable line of a log, in order; a torn last line is passed over.
  public static List<Map<String, @Nullable Object>> read(Path file) {
    try {
      var records = new ArrayList<Map<String, @Nullable Object>>();
      for (byte[] line : wholeLines(Files.readAllBytes(file))) {
        parse(line).ifPresent(records::add);
      }
      return records;
    } catch (IOException failure) {
      throw AtomicFile.failure(file, failure);
    }
  }

  private static MetricsLog open(Path file, StandardOpenOption mode) {
    try {
      return new MetricsLog(
          file, FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE, mode));
    } catch (IOException failure) {
      throw AtomicFile.failure(file, failure);
    }
  }

  public Path file() {
    return file;
  }

  /// Appends `values` as the line of `step`.
  public void append(long step, Map<String, ?> values) {
    SequencedMap<String, @Nullable Object> line = new LinkedHashMap<>();
    line.put(STEP, step);
    values.forEach(line::putIfAbsent);
    ByteBuffer bytes = ByteBuffer.wrap((Json.write(line) + "\n").getBytes(StandardCharsets.UTF_8));
    try {
      while (bytes.hasRemaining()) {
        channel.write(bytes);
      }
    } catch (IOException failure) {
      throw AtomicFile.failure(file, failure);
    }
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException failure) {
      throw AtomicFile.failure(file, failure);
    }
  }

  private static void dropAfter(Path file, long step) throws IOException {
    byte[] content = Files.readAllBytes(file);
    var kept = new ByteArrayOutputStream(content.length);
    for (byte[] line : wholeLines(content)) {
      if (parse(line).filter(values -> isUpTo(step, values)).isPresent()) {
        kept.writeBytes(line);
        kept.write('\n');
      }
    }
    if (kept.size() != content.length) {
      AtomicFile.write(file, kept.toByteArray());
    }
  }

  private static boolean isUpTo(long step, Map<String, @Nullable Object> values) {
    return values.get(STEP) instanceof Long at && at <= step;
  }

  /// The lines that end with a line feed, without it.
  private static List<byte[]> wholeLines(byte[] content) {
    var lines = new ArrayList<byte[]>();
    int start = 0;
    for (int i = 0; i < content.length; i++) {
      if (content[i] == '\n') {
        lines.add(Arrays.copyOfRange(content, start, i));
        start = i + 1;
      }
    }
    return lines;
  }

  private static Optional<Map<String, @Nullable Object>> parse(byte[] line) {
    try {
      return Optional.of(Json.parseObject(new String(line, StandardCharsets.UTF_8)));
    } catch (JsonException _) {
      return Optional.empty();
    }
  }
}
