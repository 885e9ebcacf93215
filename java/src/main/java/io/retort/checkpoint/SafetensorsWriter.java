package io.retort.checkpoint;

import io.retort.data.Json;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.CharBuffer;
import java.nio.channels.WritableByteChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Supplier;

/// Writes a safetensors file: tensors are declared first, their data is fetched one tensor at a
/// time while writing.
///
/// The bytes are those of the reference writer: metadata first (sorted by key), tensors by falling
/// type rank, then by name; the header padded with spaces to a multiple of eight. Equal content
/// gives an equal file. The file appears as a whole or not at all (see [AtomicFile]).
///
/// ```java
/// new SafetensorsWriter()
///     .metadata("step", "400")
///     .floats("conv.weight", new long[] {16, 3, 3, 3}, () -> weight.toArray())
///     .write(file);
/// ```
public final class SafetensorsWriter {
  private static final int CHUNK_BYTES = 1 << 20;

  /// Writes all bytes of one tensor, little-endian in C order, in as many pieces as it likes.
  @FunctionalInterface
  public interface Data {
    void writeTo(WritableByteChannel out) throws IOException;
  }

  private record Declared(String name, byte[] utf8, StorageType type, long[] shape, Data data) {}

  private final Map<String, String> metadata = new TreeMap<>();
  private final List<Declared> tensors = new ArrayList<>();
  private final Set<String> names = new HashSet<>();

  /// A writer with nothing declared.
  public SafetensorsWriter() {}

  /// Adds a string to the file's `__metadata__`; a key given twice keeps the last value.
  public SafetensorsWriter metadata(String key, String value) {
    utf8(key);
    utf8(value);
    metadata.put(key, value);
    return this;
  }

  /// Declares an F32 tensor whose values are asked for once, while writing.
  public SafetensorsWriter floats(String name, long[] shape, Supplier<float[]> values) {
    return tensor(name, StorageType.F32, shape, out -> writeFloats(out, values.get()));
  }

  /// Declares an F64 tensor whose values are asked for once, while writing.
  public SafetensorsWriter doubles(String name, long[] shape, Supplier<double[]> values) {
    return tensor(name, StorageType.F64, shape, out -> writeDoubles(out, values.get()));
  }

  /// Declares an I64 tensor whose values are asked for once, while writing.
  public SafetensorsWriter longs(String name, long[] shape, Supplier<long[]> values) {
    return tensor(name, StorageType.I64, shape, out -> writeLongs(out, values.get()));
  }

  /// Declares a tensor of any type from its raw bytes, which are asked for once, while writing.
  public SafetensorsWriter raw(
      String name, StorageType type, long[] shape, Supplier<ByteBuffer> bytes) {
    return tensor(name, type, shape, out -> AtomicFile.writeFully(out, bytes.get().duplicate()));
  }

  /// Declares a tensor of any type and size; `data` must write exactly the bytes that type and
  /// shape need.
  ///
  /// @throws IllegalArgumentException if the name is taken or reserved, or the shape is impossible
  public SafetensorsWriter tensor(String name, StorageType type, long[] shape, Data data) {
    if (name.equals(SafetensorsHeader.METADATA)) {
      throw new IllegalArgumentException("the tensor name " + name + " is reserved");
    }
    for (long dimension : shape) {
      if (dimension < 0) {
        throw new IllegalArgumentException(name + ": negative shape " + Arrays.toString(shape));
      }
    }
    if (type.byteSize(shape) < 0) {
      throw new IllegalArgumentException(
          name + ": impossible shape " + Arrays.toString(shape) + " of " + type);
    }
    if (!names.add(name)) {
      throw new IllegalArgumentException("the tensor name " + name + " is declared twice");
    }
    tensors.add(new Declared(name, utf8(name), type, shape.clone(), data));
    return this;
  }

  /// Writes the file, replacing what is there.
  ///
  /// @throws CheckpointException if the file cannot be written; a file that was there before is
  ///   then unchanged
  public void write(Path file) {
    List<Declared> ordered =
        tensors.stream()
            .sorted(
                Comparator.comparing(Declared::type, Comparator.reverseOrder())
                    .thenComparing(Declared::utf8, Arrays::compareUnsigned))
            .toList();
    byte[] header = header(ordered);
    if (header.length - Long.BYTES > SafetensorsHeader.MAX_BYTES) {
      throw new CheckpointException(
          file,
          "",
          "the header needs %d bytes, more than any reader takes".formatted(header.length));
    }
    try {
      AtomicFile.write(file, out -> writeAll(file, out, header, ordered));
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    }
  }

  private static void writeAll(
      Path file, WritableByteChannel out, byte[] header, List<Declared> ordered)
      throws IOException {
    AtomicFile.writeFully(out, ByteBuffer.wrap(header));
    for (Declared tensor : ordered) {
      var counted = new CountingChannel(out);
      try {
        tensor.data.writeTo(counted);
      } catch (IOException failure) {
        throw new CheckpointException(file, tensor.name, failure);
      }
      long expected = tensor.type.byteSize(tensor.shape);
      if (counted.bytes != expected) {
        throw new CheckpointException(
            file,
            tensor.name,
            "%s of %s needs %d bytes, its data gave %d"
                .formatted(tensor.type, Arrays.toString(tensor.shape), expected, counted.bytes));
      }
    }
  }

  /// Length prefix, JSON and padding.
  private byte[] header(List<Declared> ordered) {
    var json = new StringBuilder("{");
    if (!metadata.isEmpty()) {
      json.append('"')
          .append(SafetensorsHeader.METADATA)
          .append("\":")
          .append(Json.write(metadata));
    }
    long begin = 0;
    for (Declared tensor : ordered) {
      long end = begin + tensor.type.byteSize(tensor.shape);
      if (json.length() > 1) {
        json.append(',');
      }
      Json.quote(json, tensor.name);
      json.append(":{\"dtype\":\"").append(tensor.type);
      json.append("\",\"shape\":").append(Json.write(tensor.shape));
      json.append(",\"data_offsets\":[").append(begin).append(',').append(end).append("]}");
      begin = end;
    }
    byte[] utf8 = json.append('}').toString().getBytes(StandardCharsets.UTF_8);
    int padded = (utf8.length + 7) / 8 * 8;
    ByteBuffer header = ByteBuffer.allocate(Long.BYTES + padded).order(ByteOrder.LITTLE_ENDIAN);
    header.putLong(padded).put(utf8);
    while (header.hasRemaining()) {
      header.put((byte) ' ');
    }
    return header.array();
  }

  static void writeFloats(WritableByteChannel out, float[] values) throws IOException {
    ByteBuffer chunk = chunkFor(values.length, Float.BYTES);
    int step = chunk.capacity() / Float.BYTES;
    for (int done = 0; done < values.length; done += step) {
      int count = Math.min(step, values.length - done);
      chunk.clear().asFloatBuffer().put(values, done, count);
      AtomicFile.writeFully(out, chunk.limit(count * Float.BYTES));
    }
  }

  static void writeDoubles(WritableByteChannel out, double[] values) throws IOException {
    ByteBuffer chunk = chunkFor(values.length, Double.BYTES);
    int step = chunk.capacity() / Double.BYTES;
    for (int done = 0; done < values.length; done += step) {
      int count = Math.min(step, values.length - done);
      chunk.clear().asDoubleBuffer().put(values, done, count);
      AtomicFile.writeFully(out, chunk.limit(count * Double.BYTES));
    }
  }

  static void writeLongs(WritableByteChannel out, long[] values) throws IOException {
    ByteBuffer chunk = chunkFor(values.length, Long.BYTES);
    int step = chunk.capacity() / Long.BYTES;
    for (int done = 0; done < values.length; done += step) {
      int count = Math.min(step, values.length - done);
      chunk.clear().asLongBuffer().put(values, done, count);
      AtomicFile.writeFully(out, chunk.limit(count * Long.BYTES));
    }
  }

  private static ByteBuffer chunkFor(int values, int elementBytes) {
    long bytes = Math.min((long) values * elementBytes, CHUNK_BYTES);
    return ByteBuffer.allocate((int) bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static byte[] utf8(String text) {
    try {
      ByteBuffer bytes = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(text));
      return Arrays.copyOf(bytes.array(), bytes.limit());
    } catch (CharacterCodingException _) {
      throw new IllegalArgumentException("a name or metadata string has a lone surrogate");
    }
  }

  /// Passes bytes on and counts them.
  private static final class CountingChannel implements WritableByteChannel {
    private final WritableByteChannel out;
    private long bytes;

    CountingChannel(WritableByteChannel out) {
      this.out = out;
    }

    @Override
    public int write(ByteBuffer source) throws IOException {
      int written = out.write(source);
      bytes += written;
      return written;
    }

    @Override
    public boolean isOpen() {
      return out.isOpen();
    }

    /// The file goes on after this tensor.
    @Override
    public void close() {}
  }
}
