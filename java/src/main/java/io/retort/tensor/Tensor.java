package io.retort.tensor;

import java.lang.foreign.MemorySegment;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/// A dense row-major array in a device's memory, owned by a [Scope].
///
/// Cheap handle: shape, type and an address. It never computes; ops do. Reading it back copies.
public final class Tensor {
  private final Shape shape;
  private final DType dtype;
  private final Storage storage;
  private final long address;
  private @Nullable Scope owner;
  private int place;

  Tensor(Shape shape, DType dtype, Storage storage, long address) {
    this.shape = shape;
    this.dtype = dtype;
    this.storage = storage;
    this.address = address;
  }

  public Shape shape() {
    return shape;
  }

  public DType dtype() {
    return dtype;
  }

  public long elements() {
    return shape.elements();
  }

  public long bytes() {
    return shape.elements() * dtype.bytes();
  }

  /// Address of the first element in its backend's memory.
  ///
  /// @throws IllegalStateException if the tensor was released or its scope closed
  public long address() {
    if (owner == null) {
      throw new IllegalStateException("tensor " + shape + " was used after its scope closed");
    }
    return address;
  }

  public Memory memory() {
    return storage.memory;
  }

  /// The same elements under another shape, owned by `scope`; shares storage.
  public Tensor view(Scope scope, Shape other) {
    if (other.elements() != elements()) {
      throw new ShapeException(
          "view: " + other + " must have the " + elements() + " elements of " + shape);
    }
    return view(scope, other, 0);
  }

  /// `other.elements()` consecutive elements from `offset` on, owned by `scope`; shares storage.
  public Tensor view(Scope scope, Shape other, long offset) {
    if (offset < 0 || offset + other.elements() > elements()) {
      throw new ShapeException("view: " + other + " at " + offset + " does not fit in " + shape);
    }
    long start = address() + offset * dtype.bytes();
    storage.retain();
    return scope.adopt(new Tensor(other, dtype, storage, start));
  }

  /// Copies Java floats in.
  ///
  /// @throws ShapeException if `values` has another length
  public Tensor set(float... values) {
    requireType(DType.F32);
    requireLength(values.length);
    memory().write(address(), values, 0, values.length);
    return written();
  }

  /// Copies Java longs in.
  ///
  /// @throws ShapeException if `values` has another length
  public Tensor set(long... values) {
    requireType(DType.I64);
    requireLength(values.length);
    memory().write(address(), values, 0, values.length);
    return written();
  }

  /// Copies float32 values in from a segment that holds them in this machine's byte order.
  ///
  /// @throws ShapeException if the segment has another length
  public Tensor set(MemorySegment values) {
    requireType(DType.F32);
    if (values.byteSize() != bytes()) {
      throw new ShapeException(
          "tensor " + shape + " holds " + bytes() + " bytes, got " + values.byteSize());
    }
    memory().write(address(), values);
    return written();
  }

  /// Copies float32 values over the elements from `offset` on.
  ///
  /// @throws ShapeException if they do not fit
  public Tensor set(long offset, float[] values, int count) {
    requireType(DType.F32);
    if (offset < 0 || count > elements() - offset) {
      throw new ShapeException(
          "tensor " + shape + " has no " + count + " elements from " + offset + " on");
    }
    memory().write(address() + offset * Float.BYTES, values, 0, count);
    return written();
  }

  /// Copies a float32 tensor out.
  public float[] floats() {
    requireType(DType.F32);
    float[] values = new float[Math.toIntExact(elements())];
    memory().read(address(), values, 0, values.length);
    return values;
  }

  /// Copies an int64 tensor out.
  public long[] longs() {
    requireType(DType.I64);
    long[] values = new long[Math.toIntExact(elements())];
    memory().read(address(), values, 0, values.length);
    return values;
  }

  /// The value of a one-element float32 tensor.
  public float item() {
    requireLength(1);
    return floats()[0];
  }

  /// Copies another tensor of the same shape and type over this one.
  public Tensor copyFrom(Tensor other) {
    if (!other.shape.equals(shape) || other.dtype != dtype) {
      throw new ShapeException(
          "copy: source must be " + dtype + shape + ", got " + other.dtype + other.shape);
    }
    memory().copy(other.address(), address(), bytes());
    return written();
  }

  /// Fills with zero bytes.
  public Tensor zero() {
    memory().zero(address(), bytes());
    return written();
  }

  /// [#address] for a kernel that writes there: what is [#packed] of this storage counts no more.
  public long target() {
    written();
    return address();
  }

  private Tensor written() {
    storage.written();
    return this;
  }

  /// Address of these values in a layout that a kernel has made of them to read them faster, kept
  /// until they are written or freed; or 0, and the kernel works without: at the first few requests
  /// since they were written, and where the memory has nothing to spare.
  ///
  /// What writes says so: everything here that does, and kernels by [#target]. Several threads may
  /// ask at a time, but not while another writes.
  ///
  /// @param layout the kernel's number for the layout, equal for equal ones
  /// @param bytes that it takes
  /// @param pack writes it to an address
  public long packed(long layout, long bytes, LongConsumer pack) {
    return storage.packed(address(), layout, bytes, pack);
  }

  @Nullable Scope owner() {
    return owner;
  }

  /// Where it is on its owner's list.
  int place() {
    return place;
  }

  void moveTo(Scope scope, int at) {
    owner = scope;
    place = at;
  }

  void die() {
    owner = null;
    storage.release();
  }

  private void requireType(DType expected) {
    if (dtype != expected) {
      throw new DTypeException("tensor " + shape + " must be " + expected + ", got " + dtype);
    }
  }

  private void requireLength(long length) {
    if (length != elements()) {
      throw new ShapeException(
          "tensor " + shape + " holds " + elements() + " elements, got " + length);
    }
  }

  @Override
  public String toString() {
    return dtype + shape.toString();
  }
}
