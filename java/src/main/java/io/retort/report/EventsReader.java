package io.retort.report;

import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.ProtoReader;
import io.retort.data.MappedFile;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32C;

/// Reads a TensorBoard event file, ours or another's: scalars with their values, everything else by
/// its kind.
///
/// Every record's two checksums are checked. A torn last record, normal in a file that is being
/// written, ends the reading; damage before it is a [CheckpointException].
public final class EventsReader {
  private static final int FRAME_BYTES = 16;
  private static final int MASK_DELTA = 0xa282ead8;
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  /// What a value of a summary is.
  public enum Kind {
    SCALAR,
    IMAGE,
    HISTOGRAM,
    TENSOR,
    OTHER
  }

  /// One value of one step.
  ///
  /// @param seconds wall time since 1970
  /// @param scalar the value of a scalar, NaN for other kinds
  public record Value(String tag, Kind kind, double seconds, long step, float scalar) {}

  /// @param version as the first record says, such as `brain.Event:2`
  /// @param values in the order of the file
  /// @param torn whether the file ends within a record
  public record Events(String version, List<Value> values, boolean torn) {}

  private EventsReader() {}

  /// Reads a whole file.
  ///
  /// @throws CheckpointException if it is no event file, or damaged
  public static Events read(Path file) {
    try (MappedFile mapped = MappedFile.open(file)) {
      var events = new Building(file);
      boolean torn = false;
      for (long at = 0; at < mapped.size() && !torn; ) {
        long length = length(file, mapped.bytes(), at);
        torn = length < 0;
        if (!torn) {
          events.add(new ProtoReader(file, mapped.bytes().asSlice(at + 12, length)));
          at += FRAME_BYTES + length;
        }
      }
      if (events.version.isEmpty()) {
        throw new CheckpointException(file, "", "is no TensorBoard event file");
      }
      return new Events(events.version, List.copyOf(events.values), torn);
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    }
  }

  /// Length of the record at `at`, or -1 if the file ends within it.
  private static long length(Path file, MemorySegment bytes, long at) {
    long left = bytes.byteSize() - at;
    if (left < FRAME_BYTES) {
      return -1;
    }
    long length = bytes.get(LONG, at);
    if (bytes.get(INT, at + 8) != masked(bytes.asSlice(at, Long.BYTES)) || length < 0) {
      throw new CheckpointException(
          file,
          "",
          "has a record at byte %d whose length does not match its checksum".formatted(at));
    }
    if (length > left - FRAME_BYTES) {
      return -1;
    }
    if (bytes.get(INT, at + 12 + length) != masked(bytes.asSlice(at + 12, length))) {
      throw new CheckpointException(
          file, "", "has a record at byte %d that does not match its checksum".formatted(at));
    }
    return length;
  }

  private static int masked(MemorySegment bytes) {
    var crc = new CRC32C();
    for (long done = 0; done < bytes.byteSize(); ) {
      long count = Math.min(bytes.byteSize() - done, 1 << 30);
      crc.update(bytes.asSlice(done, count).asByteBuffer());
      done += count;
    }
    int value = (int) crc.getValue();
    return (value >>> 15 | value << 17) + MASK_DELTA;
  }

  private static final class Building {
    private final Path file;
    private final List<Value> values = new ArrayList<>();
    private String version = "";

    Building(Path file) {
      this.file = file;
    }

    void add(ProtoReader event) {
      double seconds = 0;
      long step = 0;
      var summaries = new ArrayList<MemorySegment>();
      while (event.next()) {
        switch (event.field()) {
          case 1 -> seconds = event.fixed64();
          case 2 -> step = event.varint();
          case 3 -> version = event.text();
          case 5 -> summaries.add(event.bytes());
          default -> event.skip();
        }
      }
      for (MemorySegment summary : summaries) {
        ProtoReader reader = new ProtoReader(file, summary);
        while (reader.next()) {
          if (reader.field() == 1) {
            values.add(value(reader.message(), seconds, step));
          } else {
            reader.skip();
          }
        }
      }
    }

    private static Value value(ProtoReader value, double seconds, long step) {
      String tag = "";
      Kind kind = Kind.OTHER;
      float scalar = Float.NaN;
      while (value.next()) {
        int field = value.field();
        switch (field) {
          case 1 -> tag = value.text();
          case 2 -> {
            kind = Kind.SCALAR;
            scalar = value.fixed32();
          }
          case 4, 5, 8 -> {
            kind = field == 4 ? Kind.IMAGE : field == 5 ? Kind.HISTOGRAM : Kind.TENSOR;
            value.skip();
          }
          default -> value.skip();
        }
      }
      return new Value(tag, kind, seconds, step, scalar);
    }
  }
}
