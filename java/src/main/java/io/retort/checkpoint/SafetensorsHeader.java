package io.retort.checkpoint;

import io.retort.data.Json.JsonException;
import io.retort.data.JsonReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;

/// The JSON header of a safetensors file: parsed as a stream and checked before any tensor is read.
///
/// Beyond the format's reference reader it refuses white space before `{`, every duplicate key, and
/// empty tensors whose other dimensions overflow: a file that means two things to two readers is
/// not a checkpoint.
record SafetensorsHeader(SequencedMap<String, String> metadata, List<TensorEntry> entries) {
  static final long MAX_BYTES = 100_000_000;
  static final String METADATA = "__metadata__";

  private static final int MAX_TENSORS = 1_000_000;
  private static final int MAX_RANK = 64;
  private static final int MAX_DEPTH = 64;

  /// Parses `json` and checks that its tensors cover the `dataBytes` of data without a hole or an
  /// overlap.
  static SafetensorsHeader parse(Path file, byte[] json, long dataBytes) {
    if (json.length == 0 || json[0] != '{') {
      throw new CheckpointException(file, "", "the header must begin with '{'");
    }
    try {
      SafetensorsHeader header = new Parser(file, json).parse();
      checkCoverage(file, header.entries, dataBytes);
      return header;
    } catch (JsonException malformed) {
      throw new CheckpointException(file, "", "malformed header, " + malformed.getMessage());
    }
  }

  private static void checkCoverage(Path file, List<TensorEntry> entries, long dataBytes) {
    long covered = 0;
    for (TensorEntry entry : entries) {
      if (entry.begin() != covered || entry.end() < entry.begin()) {
        throw new CheckpointException(
            file,
            entry.name(),
            "data_offsets must be [%d, ..] after the tensor before it, got [%d, %d]"
                .formatted(covered, entry.begin(), entry.end()));
      }
      long bytes = entry.type().byteSize(entry.shape());
      if (bytes != entry.bytes()) {
        throw new CheckpointException(
            file,
            entry.name(),
            "the shape needs %s bytes, data_offsets give %d"
                .formatted(bytes < 0 ? "an impossible number of" : bytes, entry.bytes()));
      }
      covered = entry.end();
    }
    if (covered != dataBytes) {
      throw new CheckpointException(
          file, "", "the tensors cover %d bytes, the file has %d".formatted(covered, dataBytes));
    }
  }

  private static final class Parser {
    private final Path file;
    private final JsonReader reader;
    private final SequencedMap<String, String> metadata = new LinkedHashMap<>();
    private final List<TensorEntry> entries = new ArrayList<>();
    private final long[] numbers = new long[MAX_RANK];

    Parser(Path file, byte[] json) {
      this.file = file;
      this.reader = new JsonReader(json, MAX_DEPTH, 2 * MAX_TENSORS);
    }

    SafetensorsHeader parse() {
      reader.beginObject();
      while (reader.hasNext()) {
        String name = reader.name();
        if (name.equals(METADATA)) {
          readMetadata();
        } else {
          readEntry(name);
        }
      }
      reader.endObject();
      reader.end();
      entries.sort(
          Comparator.comparingLong(TensorEntry::begin).thenComparingLong(TensorEntry::end));
      return new SafetensorsHeader(
          Collections.unmodifiableSequencedMap(metadata), List.copyOf(entries));
    }

    private void readMetadata() {
      if (reader.peek() == JsonReader.Kind.NULL) {
        reader.nil();
        return;
      }
      reader.beginObject();
      while (reader.hasNext()) {
        String key = reader.name();
        metadata.put(key, reader.string());
      }
      reader.endObject();
    }

    private void readEntry(String name) {
      if (entries.size() == MAX_TENSORS) {
        throw new CheckpointException(file, "", "more than %d tensors".formatted(MAX_TENSORS));
      }
      StorageType type = null;
      long[] shape = null;
      long[] offsets = null;
      reader.beginObject();
      while (reader.hasNext()) {
        switch (reader.name()) {
          case "dtype" -> type = readType(name);
          case "shape" -> shape = readNaturals(name, "shape", MAX_RANK);
          case "data_offsets" -> offsets = readNaturals(name, "data_offsets", 2);
          default -> reader.skip();
        }
      }
      reader.endObject();
      if (type == null || shape == null || offsets == null) {
        throw new CheckpointException(file, name, "needs dtype, shape and data_offsets");
      }
      if (offsets.length != 2) {
        throw new CheckpointException(file, name, "data_offsets must be two numbers");
      }
      entries.add(new TensorEntry(name, type, shape, offsets[0], offsets[1]));
    }

    private StorageType readType(String name) {
      String text = reader.string();
      return StorageType.named(text)
          .orElseThrow(() ->
              new CheckpointException(
                  file, name, "unknown dtype " + CheckpointException.printable(text)));
    }

    private long[] readNaturals(String name, String member, int most) {
      int count = 0;
      reader.beginArray();
      while (reader.hasNext()) {
        if (count == most) {
          throw new CheckpointException(
              file, name, "%s has more than %d numbers".formatted(member, most));
        }
        long number = reader.integer();
        if (number < 0) {
          throw new CheckpointException(
              file, name, "%s must not be negative, got %d".formatted(member, number));
        }
        numbers[count++] = number;
      }
      reader.endArray();
      return Arrays.copyOf(numbers, count);
    }
  }
}
