package io.retort.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/// Reads a safetensors file: checks the whole header on opening, reads the data of a tensor when it
/// is asked for.
///
/// Nothing in the file is trusted: lengths are compared with the file's before anything is
/// allocated, tensors must cover the data without hole or overlap, and names are only ever keys,
/// never paths. The only exception is [CheckpointException]. Reads may come from several threads;
/// interrupting one closes the file for all.
///
/// Source: the safetensors format description, version 0.8 of its reference reader.
public final class SafetensorsReader implements AutoCloseable {
  private static final int PREFIX_BYTES = 8;
  private static final int CHUNK_BYTES = 1 << 20;
  private static final int LONGEST_ARRAY = Integer.MAX_VALUE - 8;

  private final Path file;
  private final FileChannel channel;
  private final long dataStart;
  private final SafetensorsHeader header;
  private final Map<String, TensorEntry> byName;

  private SafetensorsReader(
      Path file, FileChannel channel, long dataStart, SafetensorsHeader header) {
    this.file = file;
    this.channel = channel;
    this.dataStart = dataStart;
    this.header = header;
    this.byName = HashMap.newHashMap(header.entries().size());
    header.entries().forEach(entry -> byName.put(entry.name(), entry));
  }

  /// Opens `file` and checks its header.
  public static SafetensorsReader open(Path file) {
    if (Files.exists(file) && !Files.isRegularFile(file)) {
      throw new CheckpointException(file, "", "is not a regular file");
    }
    FileChannel channel;
    try {
      channel = FileChannel.open(file, StandardOpenOption.READ);
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    }
    try {
      return read(file, channel);
    } catch (IOException failure) {
      close(channel, failure);
      throw new CheckpointException(file, "", failure);
    } catch (RuntimeException refusal) {
      close(channel, refusal);
      throw refusal;
    }
  }

  private static SafetensorsReader read(Path file, FileChannel channel) throws IOException {
    long fileBytes = channel.size();
    if (fileBytes < PREFIX_BYTES) {
      throw new CheckpointException(
          file, "", "a safetensors file has at least 8 bytes, this has " + fileBytes);
    }
    ByteBuffer prefix = ByteBuffer.allocate(PREFIX_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    readFully(file, "", channel, prefix, 0);
    long headerBytes = prefix.flip().getLong();
    if (headerBytes < 0 || headerBytes > SafetensorsHeader.MAX_BYTES) {
      throw new CheckpointException(
          file,
          "",
          "a header of %s bytes is more than %d"
              .formatted(Long.toUnsignedString(headerBytes), SafetensorsHeader.MAX_BYTES));
    }
    long dataStart = PREFIX_BYTES + headerBytes;
    if (dataStart > fileBytes) {
      throw new CheckpointException(
          file,
          "",
          "the header should have %d bytes, the file ends after %d"
              .formatted(headerBytes, fileBytes - PREFIX_BYTES));
    }
    var json = new byte[(int) headerBytes];
    readFully(file, "", channel, ByteBuffer.wrap(json), PREFIX_BYTES);
    return new SafetensorsReader(
        file, channel, dataStart, SafetensorsHeader.parse(file, json, fileBytes - dataStart));
  }

  public Path file() {
    return file;
  }

  /// The `__metadata__` strings in file order, empty if there are none.
  public SequencedMap<String, String> metadata() {
    return header.metadata();
  }

  /// Every tensor, in the order of its data.
  public List<TensorEntry> entries() {
    return header.entries();
  }

  public boolean contains(String name) {
    return byName.containsKey(name);
  }

  public Optional<TensorEntry> find(String name) {
    return Optional.ofNullable(byName.get(name));
  }

  /// The entry of a tensor that must be there.
  public TensorEntry entry(String name) {
    return find(name).orElseThrow(() -> new CheckpointException(file, name, "is not in this file"));
  }

  /// The values of an F32, F16, BF16 or F64 tensor; F64 is rounded.
  public float[] floats(String name) {
    TensorEntry entry = entry(name);
    var values = new float[arrayLength(entry, entry.elements())];
    switch (entry.type()) {
      case F32 ->
          eachChunk(entry, (bytes, at) -> bytes.asFloatBuffer().get(values, at, count(bytes, 4)));
      case F64 ->
          eachChunk(
              entry,
              (bytes, at) -> {
                for (int i = at; bytes.hasRemaining(); i++) {
                  values[i] = (float) bytes.getDouble();
                }
              });
      case F16 ->
          eachChunk(
              entry,
              (bytes, at) -> {
                for (int i = at; bytes.hasRemaining(); i++) {
                  values[i] = Float.float16ToFloat(bytes.getShort());
                }
              });
      case BF16 ->
          eachChunk(
              entry,
              (bytes, at) -> {
                for (int i = at; bytes.hasRemaining(); i++) {
                  values[i] = Float.intBitsToFloat(bytes.getShort() << 16);
                }
              });
      default -> throw wrongType(entry, "F32, F16, BF16 or F64");
    }
    return values;
  }

  /// The values of an F64, F32, F16 or BF16 tensor, exactly.
  public double[] doubles(String name) {
    TensorEntry entry = entry(name);
    var values = new double[arrayLength(entry, entry.elements())];
    if (entry.type() == StorageType.F64) {
      eachChunk(entry, (bytes, at) -> bytes.asDoubleBuffer().get(values, at, count(bytes, 8)));
    } else {
      float[] narrow = floats(name);
      for (int i = 0; i < narrow.length; i++) {
        values[i] = narrow[i];
      }
    }
    return values;
  }

  /// The values of an integer tensor; BOOL gives 0 and 1, any other byte counting as 1.
  public long[] longs(String name) {
    TensorEntry entry = entry(name);
    var values = new long[arrayLength(entry, entry.elements())];
    eachChunk(
        entry,
        (bytes, at) -> {
          for (int i = at; bytes.hasRemaining(); i++) {
            values[i] = nextInteger(entry, bytes);
          }
        });
    return values;
  }

  private long nextInteger(TensorEntry entry, ByteBuffer bytes) {
    return switch (entry.type()) {
      case BOOL -> bytes.get() == 0 ? 0 : 1;
      case I8 -> bytes.get();
      case U8 -> bytes.get() & 0xff;
      case I16 -> bytes.getShort();
      case U16 -> bytes.getShort() & 0xffff;
      case I32 -> bytes.getInt();
      case U32 -> bytes.getInt() & 0xffff_ffffL;
      case I64 -> bytes.getLong();
      case U64 -> {
        long value = bytes.getLong();
        if (value < 0) {
          throw new CheckpointException(
              file, entry.name(), "the value " + Long.toUnsignedString(value) + " exceeds a long");
        }
        yield value;
      }
      case F4, F6_E2M3, F6_E3M2, F8_E5M2, F8_E4M3, F8_E8M0, F8_E4M3FNUZ, F8_E5M2FNUZ -> {
        throw wrongType(entry, "an integer type or BOOL");
      }
      case F16, BF16, F32, C64, F64 -> throw wrongType(entry, "an integer type or BOOL");
    };
  }

  /// The raw bytes of a tensor of any type.
  public byte[] bytes(String name) {
    TensorEntry entry = entry(name);
    var bytes = new byte[arrayLength(entry, entry.bytes())];
    readFully(file, name, channel, ByteBuffer.wrap(bytes), dataStart + entry.begin());
    return bytes;
  }

  /// Fills `target`, whose remaining bytes must be exactly the tensor's, with its raw little-endian
  /// bytes.
  public void readInto(String name, ByteBuffer target) {
    long bytes = entry(name).bytes();
    if (target.remaining() != bytes) {
      throw new CheckpointException(
          file, name, "has %d bytes, the buffer takes %d".formatted(bytes, target.remaining()));
    }
    readInto(name, 0, target);
  }

  /// Fills `target` with raw bytes from byte `offset` of the tensor on, for tensors too large for
  /// one buffer.
  public void readInto(String name, long offset, ByteBuffer target) {
    TensorEntry entry = entry(name);
    if (offset < 0 || offset > entry.bytes() - target.remaining()) {
      throw new CheckpointException(
          file,
          name,
          "has %d bytes, so %d from byte %d on cannot be read"
              .formatted(entry.bytes(), target.remaining(), offset));
    }
    readFully(file, name, channel, target, dataStart + entry.begin() + offset);
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException failure) {
      throw new CheckpointException(file, "", failure);
    }
  }

  /// Receives the next bytes of a tensor, whole elements, and the index of the first of them.
  private interface ChunkConsumer {
    void accept(ByteBuffer bytes, int firstElement);
  }

  /// Walks a tensor of whole-byte elements through one small buffer.
  private void eachChunk(TensorEntry entry, ChunkConsumer consumer) {
    int elementBytes = Math.max(entry.type().bits() / 8, 1);
    ByteBuffer buffer =
        ByteBuffer.allocate((int) Math.min(entry.bytes(), CHUNK_BYTES))
            .order(ByteOrder.LITTLE_ENDIAN);
    for (long done = 0; done < entry.bytes(); done += buffer.limit()) {
      buffer.clear().limit((int) Math.min(buffer.capacity(), entry.bytes() - done));
      readFully(file, entry.name(), channel, buffer, dataStart + entry.begin() + done);
      consumer.accept(buffer.flip(), (int) (done / elementBytes));
    }
  }

  private static int count(ByteBuffer bytes, int elementBytes) {
    return bytes.remaining() / elementBytes;
  }

  private int arrayLength(TensorEntry entry, long length) {
    if (length > LONGEST_ARRAY) {
      throw new CheckpointException(
          file, entry.name(), "%d values do not fit one array".formatted(length));
    }
    return (int) length;
  }

  private CheckpointException wrongType(TensorEntry entry, String expected) {
    return new CheckpointException(
        file, entry.name(), "dtype must be " + expected + ", got " + entry.type());
  }

  private static void readFully(
      Path file, String tensor, FileChannel channel, ByteBuffer target, long position) {
    try {
      long at = position;
      while (target.hasRemaining()) {
        int read = channel.read(target, at);
        if (read < 0) {
          throw new CheckpointException(file, tensor, "the file became shorter while it was read");
        }
        at += read;
      }
    } catch (IOException failure) {
      throw new CheckpointException(file, tensor, failure);
    }
  }

  private static void close(FileChannel channel, Exception reason) {
    try {
      channel.close();
    } catch (IOException second) {
      reason.addSuppressed(second);
    }
  }
}
