package io.retort.tensor;

import java.util.Arrays;
import java.util.stream.Collectors;

/// The extents of a tensor, outermost first; `Shape.of()` is a scalar.
///
/// @param dims extents, each at least 0; their product fits a signed 64-bit integer
public record Shape(long... dims) {

  public Shape {
    dims = dims.clone();
    long elements = 1;
    for (long dim : dims) {
      if (dim < 0) {
        throw new ShapeException("shape: every extent must be >= 0, got " + text(dims));
      }
      try {
        elements = Math.multiplyExact(elements, dim);
      } catch (ArithmeticException overflow) {
        throw new ShapeException("shape: too many elements in " + text(dims));
      }
    }
  }

  /// A shape with these extents.
  public static Shape of(long... dims) {
    return new Shape(dims);
  }

  @Override
  public long[] dims() {
    return dims.clone();
  }

  public int rank() {
    return dims.length;
  }

  /// Extent of axis `axis`; negative axes count from the end.
  public long dim(int axis) {
    return dims[axis < 0 ? dims.length + axis : axis];
  }

  /// Extent of the last axis: the channels of a channels-last tensor.
  public long last() {
    return dims[dims.length - 1];
  }

  /// Product of all extents; 1 for a scalar.
  public long elements() {
    long elements = 1;
    for (long dim : dims) {
      elements *= dim;
    }
    return elements;
  }

  /// The same shape with axis `axis` (negative from the end) replaced.
  public Shape with(int axis, long extent) {
    long[] copy = dims.clone();
    copy[axis < 0 ? dims.length + axis : axis] = extent;
    return new Shape(copy);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Shape shape && Arrays.equals(dims, shape.dims);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(dims);
  }

  @Override
  public String toString() {
    return text(dims);
  }

  private static String text(long[] dims) {
    return Arrays.stream(dims).mapToObj(Long::toString).collect(Collectors.joining(", ", "(", ")"));
  }
}
