package io.retort.checkpoint;

import io.retort.data.Json.JsonException;
import io.retort.data.JsonNames;
import io.retort.data.JsonReader;
import io.retort.data.Printable;
import java.nio.file.Path;
import java.util.AbstractList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.RandomAccess;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/// The JSON header of a safetensors file: checked as a stream before any tensor is read, then kept
/// as it is, with an index into it.
///
/// What a header takes is its own bytes and some twenty more for a tensor, however many there are:
/// a [TensorEntry] is made when it is asked for. Beyond the format's reference reader it refuses
/// white space before `{`, every duplicate key, and empty tensors whose other dimensions overflow:
/// a file that means two things to two readers is not a checkpoint. Safe for several threads.
final class SafetensorsHeader {
  static final long MAX_BYTES = 100_000_000;
  static final String METADATA = "__metadata__";

  private static final int MAX_TENSORS = 1_000_000;
  private static final int MAX_INNER = 1 << 16;
  private static final int MAX_DEPTH = 64;

  /// `"":{"dtype":"F4","shape":[],"data_offsets":[0,0]},`
  private static final int SHORTEST_TENSOR = 50;

  private final Path file;
  private final JsonReader reader;
  private final long[] places;
  private final int[] tokens;
  private int count;
  private JsonNames names;
  private SequencedMap<String, String> metadata = Collections.emptySortedMap();

  private SafetensorsHeader(Path file, byte[] json) {
    this.file = file;
    reader = new JsonReader(json, MAX_DEPTH, MAX_TENSORS + MAX_INNER, MAX_INNER);
    int most = Math.min(MAX_TENSORS, json.length / SHORTEST_TENSOR + 1);
    places = new long[most];
    tokens = new int[most];
    names = read();
  }

  /// Checks `json`, which is not copied, and that its tensors cover the `dataBytes` of data without
  /// a hole or an overlap.
  static SafetensorsHeader parse(Path file, byte[] json, long dataBytes) {
    if (json.length == 0 || json[0] != '{') {
      throw new CheckpointException(file, "", "the header must begin with '{'");
    }
    try {
      SafetensorsHeader header = new SafetensorsHeader(file, json);
      header.sort();
      header.checkCoverage(dataBytes);
      return header;
    } catch (JsonException malformed) {
      throw new CheckpointException(file, "", "malformed header, " + malformed.getMessage());
    }
  }

  /// Every tensor, in the order of its data.
  List<TensorEntry> entries() {
    return new Entries();
  }

  Optional<TensorEntry> find(String name) {
    int token = name.equals(METADATA) ? -1 : names.find(name);
    return token < 0 ? Optional.empty() : Optional.of(entry(token));
  }

  /// In the order of the file.
  SequencedMap<String, String> metadata() {
    return metadata;
  }

  private TensorEntry entry(int token) {
    JsonReader record = reader.from(token - 1);
    return new Record().read(record, record.nameToken()).entry(record.text(token));
  }

  private JsonNames read() {
    Record record = new Record();
    reader.beginObject();
    while (reader.hasNext()) {
      int name = reader.nameToken();
      if (reader.is(name, METADATA)) {
        metadata = readMetadata();
      } else {
        if (count == MAX_TENSORS) {
          throw new CheckpointException(file, "", "more than %d tensors".formatted(MAX_TENSORS));
        }
        record.read(reader, name);
        places[count] = record.place();
        tokens[count++] = name;
      }
    }
    JsonNames found = reader.names();
    reader.endObject();
    reader.end();
    return found;
  }

  private SequencedMap<String, String> readMetadata() {
    if (reader.peek() == JsonReader.Kind.NULL) {
      reader.nil();
      return Collections.emptySortedMap();
    }
    int start = reader.position();
    reader.beginObject();
    while (reader.hasNext()) {
      reader.nameToken();
      reader.stringToken();
    }
    JsonNames keys = reader.names();
    reader.endObject();
    return new HeaderMetadata(reader, start, keys);
  }

  private void checkCoverage(long dataBytes) {
    Record record = new Record();
    JsonReader again = reader.from(0);
    long covered = 0;
    for (int i = 0; i < count; i++) {
      again.moveTo(tokens[i] - 1);
      record.read(again, again.nameToken());
      if (record.begin != covered || record.end < record.begin) {
        throw new CheckpointException(
            file,
            reader.text(tokens[i]),
            "data_offsets must be [%d, ..] after the tensor before it, got [%d, %d]"
                .formatted(covered, record.begin, record.end));
      }
      long bytes = record.bytes();
      if (bytes != record.end - record.begin) {
        throw new CheckpointException(
            file,
            reader.text(tokens[i]),
            "the shape needs %s bytes, data_offsets give %d"
                .formatted(
                    bytes < 0 ? "an impossible number of" : bytes, record.end - record.begin));
      }
      covered = record.end;
    }
    if (covered != dataBytes) {
      throw new CheckpointException(
          file, "", "the tensors cover %d bytes, the file has %d".formatted(covered, dataBytes));
    }
  }

  /// Sorts tensors by where they begin, empty ones first; they nearly always are. Heap sort: in
  /// place, and as fast for a file that was made to be slow.
  private void sort() {
    boolean sorted = true;
    for (int i = 1; i < count && sorted; i++) {
      sorted = places[i - 1] <= places[i];
    }
    if (sorted) {
      return;
    }
    for (int i = count / 2 - 1; i >= 0; i--) {
      sink(i, count);
    }
    for (int last = count - 1; last > 0; last--) {
      swap(0, last);
      sink(0, last);
    }
  }

  private void sink(int from, int size) {
    for (int at = from, child; (child = 2 * at + 1) < size; at = child) {
      if (child + 1 < size && places[child + 1] > places[child]) {
        child++;
      }
      if (places[at] >= places[child]) {
        return;
      }
      swap(at, child);
    }
  }

  private void swap(int one, int other) {
    long place = places[one];
    places[one] = places[other];
    places[other] = place;
    int token = tokens[one];
    tokens[one] = tokens[other];
    tokens[other] = token;
  }

  /// What the header says of one tensor; read again and again.
  private final class Record {
    private static final int MAX_RANK = 64;

    private final long[] shape = new long[MAX_RANK];
    private final long[] offsets = new long[2];
    private int rank;
    private long begin;
    private long end;
    private @Nullable StorageType type;

    /// Reads the member whose name stands at `name`.
    Record read(JsonReader in, int name) {
      type = null;
      int offsetCount = -1;
      rank = -1;
      in.beginObject();
      while (in.hasNext()) {
        int member = in.nameToken();
        if (in.is(member, "dtype")) {
          type = readType(in, name);
        } else if (in.is(member, "shape")) {
          rank = readNaturals(in, name, "shape", shape);
        } else if (in.is(member, "data_offsets")) {
          offsetCount = readNaturals(in, name, "data_offsets", offsets);
        } else {
          in.skip();
        }
      }
      in.endObject();
      if (type == null || rank < 0 || offsetCount < 0) {
        throw new CheckpointException(file, in.text(name), "needs dtype, shape and data_offsets");
      }
      if (offsetCount != 2) {
        throw new CheckpointException(file, in.text(name), "data_offsets must be two numbers");
      }
      begin = offsets[0];
      end = offsets[1];
      return this;
    }

    private StorageType readType(JsonReader in, int name) {
      int token = in.stringToken();
      for (StorageType known : StorageType.ALL) {
        if (in.is(token, known.name())) {
          return known;
        }
      }
      throw new CheckpointException(
          file, in.text(name), "unknown dtype " + Printable.name(in.text(token)));
    }

    private int readNaturals(JsonReader in, int name, String member, long[] numbers) {
      int read = 0;
      in.beginArray();
      while (in.hasNext()) {
        if (read == numbers.length) {
          throw new CheckpointException(
              file, in.text(name), "%s has more than %d numbers".formatted(member, numbers.length));
        }
        long number = in.integer();
        if (number < 0) {
          throw new CheckpointException(
              file, in.text(name), "%s must not be negative, got %d".formatted(member, number));
        }
        numbers[read++] = number;
      }
      in.endArray();
      return read;
    }

    /// Sorts by begin, and empty tensors before the one that begins where they do. What begins
    /// beyond any file is last.
    long place() {
      return begin > Long.MAX_VALUE / 2 ? Long.MAX_VALUE : 2 * begin + (end > begin ? 1 : 0);
    }

    /// Bytes that type and shape need, or -1.
    long bytes() {
      return type == null ? -1 : type.byteSize(shape, rank);
    }

    TensorEntry entry(String name) {
      if (type == null) {
        throw new IllegalStateException("entry: nothing was read");
      }
      return new TensorEntry(name, type, Arrays.copyOf(shape, rank), begin, end);
    }
  }

  private final class Entries extends AbstractList<TensorEntry> implements RandomAccess {
    @Override
    public TensorEntry get(int index) {
      return entry(tokens[Objects.checkIndex(index, count)]);
    }

    @Override
    public int size() {
      return count;
    }
  }
}
