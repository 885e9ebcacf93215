package io.retort.op;

import io.retort.tensor.DType;
import io.retort.tensor.DTypeException;
import io.retort.tensor.Tensor;
import java.util.List;

/// Checks of element types that shape rules cannot make.
final class ElementTypes {

  private ElementTypes() {}

  /// The floating type that all tensors have.
  ///
  /// @throws DTypeException if they differ or hold integers
  static DType same(String op, List<Tensor> tensors) {
    DType expected = floating(op, tensors.getFirst());
    for (Tensor tensor : tensors) {
      require(op, expected, tensor);
    }
    return expected;
  }

  /// The tensor's type, float32 or bfloat16.
  static DType floating(String op, Tensor tensor) {
    if (!tensor.dtype().floating()) {
      throw new DTypeException(op + ": input must be F32 or BF16, got " + tensor);
    }
    return tensor.dtype();
  }

  /// Checks that every tensor from `first` on is float32: weights and biases.
  static void weights(String op, List<Tensor> tensors, int first) {
    for (int i = first; i < tensors.size(); i++) {
      require(op, DType.F32, tensors.get(i));
    }
  }

  /// Checks that a tensor has exactly this type.
  static void require(String op, DType expected, Tensor tensor) {
    if (tensor.dtype() != expected) {
      throw new DTypeException(op + ": input must be " + expected + ", got " + tensor);
    }
  }
}
