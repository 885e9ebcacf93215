package io.retort.checkpoint;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Arrays;

/// A tensor of a PyTorch file: a strided view of a storage, in elements.
///
/// Checked when it is made: every element lies inside the storage, and there are no more elements
/// than the storage has, so that a small file cannot unfold into a large array.
record TorchTensor(PickleMachine.Storage storage, long offset, long[] shape, long[] stride) {
  private static final int MAX_RANK = 64;

  static TorchTensor of(
      Path file, PickleMachine.Storage storage, long offset, long[] shape, long[] stride) {
    TorchTensor tensor = new TorchTensor(storage, offset, shape, stride);
    if (shape.length != stride.length || shape.length > MAX_RANK || !tensor.isInside()) {
      throw new CheckpointException(
          file,
          "",
          "has a view of shape %s, stride %s from %d on in a storage of %d elements"
              .formatted(
                  Arrays.toString(shape), Arrays.toString(stride), offset, storage.elements()));
    }
    return tensor;
  }

  private boolean isInside() {
    if (offset < 0 || storage.type().byteSize(shape) < 0) {
      return false;
    }
    for (int axis = 0; axis < shape.length; axis++) {
      if (shape[axis] < 0 || stride[axis] < 0) {
        return false;
      }
    }
    long elements = elements();
    if (elements == 0) {
      return offset <= storage.elements();
    }
    try {
      long last = offset;
      for (int axis = 0; axis < shape.length; axis++) {
        last = Math.addExact(last, Math.multiplyExact(shape[axis] - 1, stride[axis]));
      }
      return last < storage.elements() && elements <= storage.elements();
    } catch (ArithmeticException _) {
      return false;
    }
  }

  long elements() {
    return storage.type().byteSize(shape) * 8 / storage.type().bits();
  }

  TensorEntry entry(String name) {
    return new TensorEntry(name, storage.type(), shape, 0, storage.type().byteSize(shape));
  }

  /// The elements in C order: a view of the storage if they lie so, a copy otherwise.
  ///
  /// @throws ArithmeticException if the copy does not fit one array
  MemorySegment gather(MemorySegment bytes) {
    long size = storage.type().bits() / 8;
    if (isContiguous()) {
      return bytes.asSlice(elements() == 0 ? 0 : offset * size, elements() * size);
    }
    MemorySegment rows = MemorySegment.ofArray(new byte[Math.toIntExact(elements() * size)]);
    var index = new long[shape.length];
    for (long target = 0; target < rows.byteSize(); target += size) {
      long source = offset;
      for (int axis = 0; axis < shape.length; axis++) {
        source += index[axis] * stride[axis];
      }
      MemorySegment.copy(bytes, source * size, rows, target, size);
      for (int axis = shape.length - 1; axis >= 0 && ++index[axis] == shape[axis]; axis--) {
        index[axis] = 0;
      }
    }
    return rows;
  }

  private boolean isContiguous() {
    long expected = 1;
    for (int axis = shape.length - 1; axis >= 0; axis--) {
      if (shape[axis] != 1 && stride[axis] != expected) {
        return elements() == 0;
      }
      expected *= shape[axis];
    }
    return true;
  }
}
