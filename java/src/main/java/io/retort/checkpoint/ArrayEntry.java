package io.retort.checkpoint;

import java.util.Arrays;

/// One array as the header of a NumPy file describes it.
///
/// @param name empty in a file of one array
/// @param type NumPy's short name without the byte order, such as `f4`
/// @param bytes of data
public record ArrayEntry(String name, String type, long[] shape, long bytes) {
  public ArrayEntry {
    shape = shape.clone();
  }

  static ArrayEntry of(String name, NpyHeader header) {
    return new ArrayEntry(name, header.typeName(), header.shape(), header.dataBytes());
  }

  @Override
  public long[] shape() {
    return shape.clone();
  }

  /// Number of elements.
  public long elements() {
    return Arrays.stream(shape).reduce(1, (a, b) -> a * b);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof ArrayEntry that
        && name.equals(that.name)
        && type.equals(that.type)
        && Arrays.equals(shape, that.shape)
        && bytes == that.bytes;
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(new Object[] {name, type, Arrays.hashCode(shape), bytes});
  }
}
