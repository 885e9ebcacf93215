package io.retort.tensor;

import java.util.ArrayList;
import java.util.List;

/// Owns tensors and frees them together: one a training step, one a network, one a sampling call.
///
/// Used by one thread. What shall outlive it is moved out by name with [#keep].
public final class Scope implements AutoCloseable {
  private final Memory memory;
  private final List<Tensor> tensors = new ArrayList<>();
  private boolean closed;

  public Scope(Memory memory) {
    this.memory = memory;
  }

  public Memory memory() {
    return memory;
  }

  /// A new tensor with undefined contents.
  public Tensor allocate(Shape shape, DType dtype) {
    long bytes = Math.multiplyExact(shape.elements(), (long) dtype.bytes());
    Storage storage = new Storage(memory, Math.max(1, bytes));
    return adopt(new Tensor(shape, dtype, storage, storage.address));
  }

  /// A new float32 tensor with undefined contents.
  public Tensor allocate(Shape shape) {
    return allocate(shape, DType.F32);
  }

  /// A new tensor of zeroes.
  public Tensor zeros(Shape shape, DType dtype) {
    return allocate(shape, dtype).zero();
  }

  /// A new float32 tensor with these values.
  public Tensor of(Shape shape, float... values) {
    return allocate(shape).set(values);
  }

  /// A new int64 tensor with these values.
  public Tensor of(Shape shape, long... values) {
    return allocate(shape, DType.I64).set(values);
  }

  /// Takes a tensor over from the scope that owned it.
  public Tensor keep(Tensor tensor) {
    Scope previous = tensor.owner();
    if (previous == null) {
      throw new IllegalStateException("keep: tensor " + tensor + " is already released");
    }
    previous.forget(tensor);
    return adopt(tensor);
  }

  /// Frees one tensor before the scope ends; its views stay valid.
  public void release(Tensor tensor) {
    if (tensor.owner() == this) {
      forget(tensor);
      tensor.die();
    }
  }

  /// Number of tensors alive in this scope.
  public int size() {
    return tensors.size();
  }

  Tensor adopt(Tensor tensor) {
    if (closed) {
      tensor.die();
      throw new IllegalStateException("scope: used after it was closed");
    }
    tensor.moveTo(this, tensors.size());
    tensors.add(tensor);
    return tensor;
  }

  /// Takes a tensor off the list; the last one takes its place.
  private void forget(Tensor tensor) {
    Tensor last = tensors.removeLast();
    if (last != tensor) {
      tensors.set(tensor.place(), last);
      last.moveTo(this, tensor.place());
    }
  }

  /// Frees every tensor still owned, the newest first, so that the next scope that asks for the
  /// same gets the same blocks. Closing twice does nothing.
  @Override
  public void close() {
    closed = true;
    while (!tensors.isEmpty()) {
      tensors.removeLast().die();
    }
  }
}
