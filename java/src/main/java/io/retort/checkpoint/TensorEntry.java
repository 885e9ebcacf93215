package io.retort.checkpoint;

import io.retort.data.Printable;
import java.util.Arrays;

/// One tensor as a safetensors header lists it: C order, little-endian, bytes `[begin, end)` of the
/// data part of the file.
///
/// A shape of length zero is a scalar; a zero dimension makes an empty tensor.
public record TensorEntry(String name, StorageType type, long[] shape, long begin, long end) {
  public TensorEntry {
    shape = shape.clone();
  }

  @Override
  public long[] shape() {
    return shape.clone();
  }

  /// Bytes of data.
  public long bytes() {
    return end - begin;
  }

  /// Number of elements.
  public long elements() {
    return bytes() * 8 / type.bits();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TensorEntry that
        && name.equals(that.name)
        && type == that.type
        && Arrays.equals(shape, that.shape)
        && begin == that.begin
        && end == that.end;
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(new Object[] {name, type, Arrays.hashCode(shape), begin, end});
  }

  /// For lists and messages, such as `conv.weight F32 [16, 3, 3, 3]`.
  @Override
  public String toString() {
    return Printable.name(name) + " " + type + " " + Arrays.toString(shape);
  }
}
