package io.retort.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
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

  private final Path file;
  private final NpyHeader header;
  private final ByteBuffer data;

  private NpyFile(Path file, NpyHeader header, ByteBuffer data) {
    this.file = file;
    this.header = header;
    this.data = data;
  }

  /// Reads a whole file of at most 2 GiB.
  ///
  /// @throws CheckpointException if it is not a plain array of numbers
  public static NpyFile read(Path file) {
    if (Files.exists(file) && !Files.isRegularFile(file)) {
      throw new CheckpointException(file, "", "is not a regular file");
    }
    try (var channel = FileChannel.open(file, StandardOpenOption.READ)) {
      return read(file, channel);
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    }
  }

  private static NpyFile read(Path file, FileChannel channel) throws IOException {
    byte[] magic = next(file, channel, MAGIC.length + 2);
    if (!Arrays.equals(magic, 0, MAGIC.length, MAGIC, 0, MAGIC.length)) {
      throw new CheckpointException(file, "", "is not a .npy file");
    }
    int version = magic[MAGIC.length];
    if (version < 1 || version > 3 || magic[MAGIC.length + 1] != 0) {
      throw new CheckpointException(
          file, "", "npy version %d.%d is unknown".formatted(version & 0xff, magic[7] & 0xff));
    }
    ByteBuffer length = little(next(file, channel, version == 1 ? 2 : 4));
    long headerBytes = version == 1 ? length.getShort() & 0xffff : length.getInt() & 0xffff_ffffL;
    if (headerBytes > LONGEST_HEADER) {
      throw new CheckpointException(
          file, "", "a header of %d bytes is more than %d".formatted(headerBytes, LONGEST_HEADER));
    }
    byte[] text = next(file, channel, (int) headerBytes);
    NpyHeader header = NpyHeader.parse(file, new String(text, StandardCharsets.ISO_8859_1));
    long dataBytes = channel.size() - channel.position();
    if (header.dataBytes() != dataBytes) {
      throw new CheckpointException(
          file,
          "",
          "%s of shape %s needs %d bytes of data, the file has %d"
              .formatted(
                  header.typeName(),
                  Arrays.toString(header.shape()),
                  header.dataBytes(),
                  dataBytes));
    }
    if (dataBytes > LONGEST_DATA) {
      throw new CheckpointException(file, "", "%d bytes are too many".formatted(dataBytes));
    }
    ByteBuffer data =
        ByteBuffer.wrap(next(file, channel, (int) dataBytes))
            .order(header.bigEndian() ? ByteOrder.BIG_ENDIAN : ByteOrder.LITTLE_ENDIAN);
    return new NpyFile(file, header, header.fortranOrder() ? toCOrder(header, data) : data);
  }

  /// Writes a float32 array, replacing the file.
  public static void write(Path file, float[] values, long... shape) {
    checkCount(values.length, shape);
    ByteBuffer bytes = start("<f4", shape, (long) values.length * Float.BYTES, file);
    bytes.slice().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().put(values);
    write(file, bytes);
  }

  /// Writes a float64 array, replacing the file.
  public static void write(Path file, double[] values, long... shape) {
    checkCount(values.length, shape);
    ByteBuffer bytes = start("<f8", shape, (long) values.length * Double.BYTES, file);
    bytes.slice().order(ByteOrder.LITTLE_ENDIAN).asDoubleBuffer().put(values);
    write(file, bytes);
  }

  /// Writes an int64 array, replacing the file.
  public static void write(Path file, long[] values, long... shape) {
    checkCount(values.length, shape);
    ByteBuffer bytes = start("<i8", shape, (long) values.length * Long.BYTES, file);
    bytes.slice().order(ByteOrder.LITTLE_ENDIAN).asLongBuffer().put(values);
    write(file, bytes);
  }

  /// Writes an array of unsigned bytes, replacing the file.
  public static void write(Path file, byte[] values, long... shape) {
    checkCount(values.length, shape);
    write(file, start("|u1", shape, values.length, file).put(values));
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
              file, "", "the value " + Long.toUnsignedString(value) + " exceeds a long");
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
      throw new CheckpointException(file, "", "must be " + expected + ", got " + header.typeName());
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

  /// A buffer that holds the header and stands where the data begins.
  private static ByteBuffer start(String descr, long[] shape, long dataBytes, Path file) {
    String dimensions =
        LongStream.of(shape).mapToObj(Long::toString).collect(Collectors.joining(", "));
    String dict =
        "{'descr': '%s', 'fortran_order': False, 'shape': (%s%s), }"
            .formatted(descr, dimensions, shape.length == 1 ? "," : "");
    int prefix = MAGIC.length + 4;
    int total = (prefix + dict.length() + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (total + dataBytes > LONGEST_DATA) {
      throw new CheckpointException(file, "", "%d bytes are too many".formatted(dataBytes));
    }
    ByteBuffer bytes = ByteBuffer.allocate(total + (int) dataBytes).order(ByteOrder.LITTLE_ENDIAN);
    bytes.put(MAGIC).put((byte) 1).put((byte) 0).putShort((short) (total - prefix));
    bytes.put(dict.getBytes(StandardCharsets.US_ASCII));
    while (bytes.position() < total - 1) {
      bytes.put((byte) ' ');
    }
    return bytes.put((byte) '\n');
  }

  private static void write(Path file, ByteBuffer bytes) {
    try {
      AtomicFile.write(file, bytes.array());
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    }
  }

  private static void checkCount(int values, long[] shape) {
    if (LongStream.of(shape).reduce(1, Math::multiplyExact) != values) {
      throw new IllegalArgumentException(
          "%d values do not make the shape %s".formatted(values, Arrays.toString(shape)));
    }
  }

  private static byte[] next(Path file, FileChannel channel, int count) throws IOException {
    if (channel.size() - channel.position() < count) {
      throw new CheckpointException(file, "", "the file ends too early");
    }
    ByteBuffer bytes = ByteBuffer.allocate(count);
    while (bytes.hasRemaining()) {
      if (channel.read(bytes) < 0) {
        throw new CheckpointException(file, "", "the file ends too early");
      }
    }
    return bytes.array();
  }

  private static ByteBuffer little(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
