package io.retort.checkpoint;

import io.retort.data.MappedFile;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.WritableByteChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Collectors;
import java.util.stream.LongStream;

/// One NumPy array: read from and written to `.npy`.
///
/// Reads versions 1 to 3, either byte order and either memory order (Fortran order is turned into C
/// order), of booleans, integers of 1 to 8 bytes and floats of 2, 4 and 8 bytes. Refuses objects
/// (they are pickles), strings, records and anything whose length is not what its header says.
/// Writes version 1, little-endian, C order.
///
/// Source: NumPy's `numpy.lib.format`.
public final class NpyFile {
  private static final byte[] MAGIC = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y'};
  private static final int ALIGNMENT = 64;
  private static final int LONGEST_HEADER = 1 << 16;
  private static final int LONGEST_DATA = Integer.MAX_VALUE - 8;
  private static final Path MEMORY = Path.of("array");

  private final Path file;
  private final String name;
  private final NpyHeader header;
  private final ByteBuffer data;

  private NpyFile(Path file, String name, NpyHeader header, ByteBuffer data) {
    this.file = file;
    this.name = name;
    this.header = header;
    this.data = data;
  }

  /// Reads a whole file of at most 2 GiB.
  ///
  /// @throws CheckpointException if it is not a plain array of numbers
  public static NpyFile read(Path file) {
    try (MappedFile mapped = MappedFile.open(file)) {
      return parse(file, "", mapped.bytes());
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    }
  }

  /// What a file holds, by its header; checks its length, reads no data.
  ///
  /// @throws CheckpointException if it is not a plain array of numbers
  public static ArrayEntry entry(Path file) {
    try (MappedFile mapped = MappedFile.open(file)) {
      Reader reader = new Reader(file, "", mapped.bytes());
      NpyHeader header = reader.header();
      requireBytes(file, "", header, mapped.size() - reader.position);
      return ArrayEntry.of("", header);
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    }
  }

  private static void requireBytes(Path file, String name, NpyHeader header, long dataBytes) {
    if (header.dataBytes() != dataBytes) {
      throw new CheckpointException(
          file,
          name,
          "%s of shape %s needs %d bytes of data, the file has %d"
              .formatted(
                  header.typeName(),
                  Arrays.toString(header.shape()),
                  header.dataBytes(),
                  dataBytes));
    }
  }

  /// The array that all of `bytes` is.
  ///
  /// @param name which array of the file it is, empty if it is the whole file; for messages
  static NpyFile parse(Path file, String name, MemorySegment bytes) {
    Reader reader = new Reader(file, name, bytes);
    NpyHeader header = reader.header();
    long dataBytes = bytes.byteSize() - reader.position;
    requireBytes(file, name, header, dataBytes);
    if (dataBytes > LONGEST_DATA) {
      throw new CheckpointException(file, name, "%d bytes are too many".formatted(dataBytes));
    }
    ByteBuffer data =
        ByteBuffer.wrap(reader.next((int) dataBytes))
            .order(header.bigEndian() ? ByteOrder.BIG_ENDIAN : ByteOrder.LITTLE_ENDIAN);
    return new NpyFile(file, name, header, header.fortranOrder() ? toCOrder(header, data) : data);
  }

  /// What the first bytes of a file say of its array, without its data.
  static NpyHeader header(Path file, String name, MemorySegment head) {
    return new Reader(file, name, head).header();
  }

  private static final class Reader {
    private final Path file;
    private final String name;
    private final MemorySegment bytes;
    private long position;

    Reader(Path file, String name, MemorySegment bytes) {
      this.file = file;
      this.name = name;
      this.bytes = bytes;
    }

    NpyHeader header() {
      MemorySegment start = bytes.asSlice(0, Math.min(MAGIC.length, bytes.byteSize()));
      long same = MemorySegment.ofArray(MAGIC).mismatch(start);
      if (same == 0 || same > 0 && same < start.byteSize()) {
        throw new CheckpointException(file, name, "is not a .npy file");
      }
      byte[] magic = next(MAGIC.length + 2);
      int version = magic[MAGIC.length];
      if (version < 1 || version > 3 || magic[MAGIC.length + 1] != 0) {
        throw new CheckpointException(
            file, name, "npy version %d.%d is unknown".formatted(version & 0xff, magic[7] & 0xff));
      }
      ByteBuffer length =
          ByteBuffer.wrap(next(version == 1 ? 2 : 4)).order(ByteOrder.LITTLE_ENDIAN);
      long headerBytes = version == 1 ? length.getShort() & 0xffff : length.getInt() & 0xffff_ffffL;
      if (headerBytes > LONGEST_HEADER) {
        throw new CheckpointException(
            file,
            name,
            "a header of %d bytes is more than %d".formatted(headerBytes, LONGEST_HEADER));
      }
      byte[] text = next((int) headerBytes);
      return NpyHeader.parse(file, new String(text, StandardCharsets.ISO_8859_1));
    }

    byte[] next(int count) {
      if (bytes.byteSize() - position < count) {
        throw new CheckpointException(file, name, "the file ends too early");
      }
      byte[] taken = bytes.asSlice(position, count).toArray(ValueLayout.JAVA_BYTE);
      position += count;
      return taken;
    }
  }

  /// An array in memory, to be written.
  public static NpyFile of(float[] values, long... shape) {
    ByteBuffer data = little(values.length, Float.BYTES);
    data.asFloatBuffer().put(values);
    return new NpyFile(MEMORY, "", NpyHeader.of('f', Float.BYTES, shape, values.length), data);
  }

  /// An array in memory, to be written.
  public static NpyFile of(double[] values, long... shape) {
    ByteBuffer data = little(values.length, Double.BYTES);
    data.asDoubleBuffer().put(values);
    return new NpyFile(MEMORY, "", NpyHeader.of('f', Double.BYTES, shape, values.length), data);
  }

  /// An array in memory, to be written.
  public static NpyFile of(long[] values, long... shape) {
    ByteBuffer data = little(values.length, Long.BYTES);
    data.asLongBuffer().put(values);
    return new NpyFile(MEMORY, "", NpyHeader.of('i', Long.BYTES, shape, values.length), data);
  }

  /// An array of unsigned bytes in memory, to be written; the values are not copied.
  public static NpyFile of(byte[] values, long... shape) {
    return new NpyFile(
        MEMORY, "", NpyHeader.of('u', 1, shape, values.length), ByteBuffer.wrap(values));
  }

  /// Writes a float32 array, replacing the file.
  public static void write(Path file, float[] values, long... shape) {
    of(values, shape).write(file);
  }

  /// Writes a float64 array, replacing the file.
  public static void write(Path file, double[] values, long... shape) {
    of(values, shape).write(file);
  }

  /// Writes an int64 array, replacing the file.
  public static void write(Path file, long[] values, long... shape) {
    of(values, shape).write(file);
  }

  /// Writes an array of unsigned bytes, replacing the file.
  public static void write(Path file, byte[] values, long... shape) {
    of(values, shape).write(file);
  }

  /// Writes this array as `.npy`, replacing the file.
  public void write(Path target) {
    try {
      AtomicFile.write(target, this::writeTo);
    } catch (IOException failure) {
      throw new CheckpointException(target, "", failure);
    }
  }

  /// Writes this array as the bytes of a `.npy` file.
  void writeTo(WritableByteChannel out) throws IOException {
    AtomicFile.writeFully(out, head());
    AtomicFile.writeFully(out, data.duplicate().clear());
  }

  /// Bytes of the `.npy` file this array makes.
  long fileBytes() {
    return (long) head().remaining() + data.capacity();
  }

  /// The dimensions, slowest first; empty for a scalar.
  public long[] shape() {
    return header.shape();
  }

  /// NumPy's short name without the byte order, such as `f4`.
  public String typeName() {
    return header.typeName();
  }

  /// The values of a float array in C order; f8 is rounded.
  public float[] floats() {
    requireKind("f", "a float array");
    var values = new float[elements()];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) floatAt(i);
    }
    return values;
  }

  /// The values of a float array in C order, exactly.
  public double[] doubles() {
    requireKind("f", "a float array");
    var values = new double[elements()];
    for (int i = 0; i < values.length; i++) {
      values[i] = floatAt(i);
    }
    return values;
  }

  /// The values of an integer or boolean array in C order.
  public long[] longs() {
    requireKind("iub", "an integer array");
    var values = new long[elements()];
    for (int i = 0; i < values.length; i++) {
      values[i] = integerAt(i);
    }
    return values;
  }

  /// The values of an array of unsigned bytes in C order.
  public byte[] bytes() {
    if (!typeName().equals("u1")) {
      throw new CheckpointException(
          file, name, "must be an array of unsigned bytes, got " + header.typeName());
    }
    var values = new byte[elements()];
    data.get(0, values);
    return values;
  }

  private double floatAt(int i) {
    return switch (header.itemBytes()) {
      case 2 -> Float.float16ToFloat(data.getShort(2 * i));
      case 4 -> data.getFloat(4 * i);
      default -> data.getDouble(8 * i);
    };
  }

  private long integerAt(int i) {
    boolean signed = header.kind() == 'i';
    return switch (header.itemBytes()) {
      case 1 -> {
        byte value = data.get(i);
        yield header.kind() == 'b' ? (value == 0 ? 0 : 1) : signed ? value : value & 0xff;
      }
      case 2 -> signed ? data.getShort(2 * i) : data.getShort(2 * i) & 0xffff;
      case 4 -> signed ? data.getInt(4 * i) : data.getInt(4 * i) & 0xffff_ffffL;
      default -> {
        long value = data.getLong(8 * i);
        if (!signed && value < 0) {
          throw new CheckpointException(
              file, name, "the value " + Long.toUnsignedString(value) + " exceeds a long");
        }
        yield value;
      }
    };
  }

  private int elements() {
    return data.capacity() / header.itemBytes();
  }

  private void requireKind(String kinds, String expected) {
    if (kinds.indexOf(header.kind()) < 0) {
      throw new CheckpointException(
          file, name, "must be " + expected + ", got " + header.typeName());
    }
  }

  /// Reorders column-major items into row-major ones; the bytes of an item stay as they are.
  private static ByteBuffer toCOrder(NpyHeader header, ByteBuffer columns) {
    long[] shape = header.shape();
    int itemBytes = header.itemBytes();
    ByteBuffer rows = ByteBuffer.allocate(columns.capacity()).order(columns.order());
    var index = new long[shape.length];
    while (rows.hasRemaining()) {
      long source = 0;
      for (int axis = shape.length - 1; axis >= 0; axis--) {
        source = source * shape[axis] + index[axis];
      }
      rows.put(columns.slice((int) source * itemBytes, itemBytes));
      for (int axis = shape.length - 1; axis >= 0 && ++index[axis] == shape[axis]; axis--) {
        index[axis] = 0;
      }
    }
    return rows;
  }

  /// The header as NumPy writes it, padded so that the data begins at a multiple of 64.
  private ByteBuffer head() {
    long[] shape = header.shape();
    String dimensions =
        LongStream.of(shape).mapToObj(Long::toString).collect(Collectors.joining(", "));
    String order = header.itemBytes() == 1 ? "|" : header.bigEndian() ? ">" : "<";
    String dict =
        "{'descr': '%s%s', 'fortran_order': False, 'shape': (%s%s), }"
            .formatted(order, header.typeName(), dimensions, shape.length == 1 ? "," : "");
    int prefix = MAGIC.length + 4;
    int total = (prefix + dict.length() + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    ByteBuffer bytes = ByteBuffer.allocate(total).order(ByteOrder.LITTLE_ENDIAN);
    bytes.put(MAGIC).put((byte) 1).put((byte) 0).putShort((short) (total - prefix));
    bytes.put(dict.getBytes(StandardCharsets.US_ASCII));
    while (bytes.position() < total - 1) {
      bytes.put((byte) ' ');
    }
    return bytes.put((byte) '\n').flip();
  }

  private static ByteBuffer little(int values, int bytes) {
    if (values > LONGEST_DATA / bytes) {
      throw new IllegalArgumentException("%d values are too many for an array".formatted(values));
    }
    return ByteBuffer.allocate(values * bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
