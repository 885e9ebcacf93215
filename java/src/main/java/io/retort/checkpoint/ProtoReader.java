package io.retort.checkpoint;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/// Pulls the fields of one protocol-buffer message out of untrusted bytes.
///
/// ```java
/// while (reader.next()) {
///   switch (reader.field()) {
///     case 1 -> version = reader.varint();
///     case 7 -> read(reader.message());
///     default -> reader.skip();
///   }
/// }
/// ```
///
/// Nothing is copied but text. A field of another wire type than asked for is a
/// [CheckpointException]. Source: the protocol buffers encoding guide.
public final class ProtoReader {
  private static final int VARINT = 0;
  private static final int FIXED64 = 1;
  private static final int BYTES = 2;
  private static final int FIXED32 = 5;
  private static final int LONGEST_VARINT = 10;

  private final Path file;
  private final MemorySegment bytes;
  private long position;
  private long limit;
  private int tag;

  public ProtoReader(Path file, MemorySegment bytes) {
    this.file = file;
    this.bytes = bytes;
    limit = bytes.byteSize();
  }

  /// Moves to the next field; read or [#skip] it before the next call.
  public boolean next() {
    if (position == limit) {
      return false;
    }
    long value = rawVarint();
    if (value <= 7 || value > Integer.MAX_VALUE) {
      throw malformed("a field without a number");
    }
    tag = (int) value;
    return true;
  }

  /// Number of the field.
  public int field() {
    return tag >>> 3;
  }

  public long varint() {
    require(VARINT);
    return rawVarint();
  }

  public double fixed64() {
    require(FIXED64);
    return bytes.get(
        ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN), advance(8));
  }

  public float fixed32() {
    require(FIXED32);
    return bytes.get(
        ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN), advance(4));
  }

  /// The bytes of a message, a text or an array.
  public MemorySegment bytes() {
    require(BYTES);
    long count = rawVarint();
    return bytes.asSlice(advance(count), count);
  }

  /// Bytes of a message, a text or an array, which is passed over.
  public long length() {
    require(BYTES);
    long count = rawVarint();
    advance(count);
    return count;
  }

  /// Goes into the field, which is a message: its fields come next. Makes nothing, unlike
  /// [#message].
  ///
  /// @return where the outer message ends, for [#leave]
  public long enter() {
    require(BYTES);
    long count = rawVarint();
    long end = advance(count) + count;
    long outer = limit;
    position = end - count;
    limit = end;
    return outer;
  }

  /// Goes on behind the message that was entered.
  public void leave(long outer) {
    position = limit;
    limit = outer;
  }

  /// Where the value of the field begins, for [#textAt].
  public long position() {
    return position;
  }

  /// The text whose field began at `start`.
  public String textAt(long start) {
    ProtoReader reader = new ProtoReader(file, bytes);
    reader.position = start;
    reader.tag = BYTES;
    return reader.text();
  }

  /// A number that two texts share only if they are the same, as good as certainly.
  public long textHash(long seed) {
    require(BYTES);
    long count = rawVarint();
    long at = advance(count);
    long hash = seed;
    for (long i = 0; i < count; i++) {
      hash = (hash ^ bytes.get(ValueLayout.JAVA_BYTE, at + i)) * (seed | 1);
      hash ^= hash >>> 32;
    }
    return hash * (seed | 1);
  }

  public ProtoReader message() {
    return new ProtoReader(file, bytes());
  }

  public String text() {
    return new String(bytes().toArray(ValueLayout.JAVA_BYTE), StandardCharsets.UTF_8);
  }

  /// Passes over the field.
  public void skip() {
    switch (tag & 7) {
      case VARINT -> rawVarint();
      case FIXED64 -> advance(8);
      case BYTES -> length();
      case FIXED32 -> advance(4);
      default -> throw malformed("a field of an unknown kind");
    }
  }

  private void require(int wire) {
    if ((tag & 7) != wire) {
      throw malformed("field " + field() + " of another kind");
    }
  }

  private long rawVarint() {
    long value = 0;
    for (int i = 0; i < LONGEST_VARINT; i++) {
      byte next = bytes.get(ValueLayout.JAVA_BYTE, advance(1));
      value |= (long) (next & 0x7f) << 7 * i;
      if (next >= 0) {
        return value;
      }
    }
    throw malformed("a number that does not end");
  }

  private long advance(long count) {
    long at = position;
    if (count < 0 || count > limit - at) {
      throw malformed("a field longer than the file");
    }
    position += count;
    return at;
  }

  private CheckpointException malformed(String what) {
    return new CheckpointException(file, "", "is damaged: it has " + what);
  }
}
