package io.retort.checkpoint;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;

/// The protobuf wire format, as much of it as an ONNX file needs: fields are appended to a growing
/// message.
///
/// A field is its tag, `number * 8 + wire type`, and its value: a varint (0), a length and so many
/// bytes (2), or four bytes (5). Source: Protocol Buffers, "Encoding".
final class ProtoWriter {
  private static final int VARINT = 0;
  private static final int BYTES = 2;
  private static final int FIXED32 = 5;

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();

  /// An empty message.
  ProtoWriter() {}

  /// An integer or an enum; negative ones take ten bytes.
  ProtoWriter whole(int field, long value) {
    tag(field, VARINT);
    varint(value);
    return this;
  }

  /// One float.
  ProtoWriter real(int field, float value) {
    tag(field, FIXED32);
    int bits = Float.floatToRawIntBits(value);
    for (int shift = 0; shift < Integer.SIZE; shift += Byte.SIZE) {
      out.write(bits >>> shift);
    }
    return this;
  }

  /// Text in UTF-8.
  ProtoWriter text(int field, String value) {
    return bytes(field, value.getBytes(StandardCharsets.UTF_8));
  }

  /// A message inside this one.
  ProtoWriter message(int field, ProtoWriter inner) {
    return bytes(field, inner.bytes());
  }

  /// The head of a field whose `length` bytes follow outside of this writer.
  ProtoWriter open(int field, long length) {
    tag(field, BYTES);
    varint(length);
    return this;
  }

  byte[] bytes() {
    return out.toByteArray();
  }

  int size() {
    return out.size();
  }

  private ProtoWriter bytes(int field, byte[] value) {
    open(field, value.length);
    out.writeBytes(value);
    return this;
  }

  private void tag(int field, int wireType) {
    varint((long) field << 3 | wireType);
  }

  private void varint(long value) {
    long rest = value;
    while ((rest & ~0x7FL) != 0) {
      out.write((int) (rest & 0x7F | 0x80));
      rest >>>= 7;
    }
    out.write((int) rest);
  }
}
