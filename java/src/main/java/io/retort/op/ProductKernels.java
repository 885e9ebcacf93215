package io.retort.op;

import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// Kernels of [Linear] and [MatMul]; shapes and types as their documentation says.
public interface ProductKernels {

  /// Writes `c = op(a) op(b)`, matrix by matrix over the leading axes.
  void matmul(Tensor a, boolean transposeA, Tensor b, boolean transposeB, Tensor c);

  /// Writes `y = x weight^T + bias`.
  void linear(Tensor x, Tensor weight, @Nullable Tensor bias, Tensor y);

  /// Writes `gradX = gradOut weight`.
  void linearDataGradient(Tensor gradOut, Tensor weight, Tensor gradX);

  /// Writes `gradWeight = gradOut^T x`, float32.
  void linearWeightGradient(Tensor x, Tensor gradOut, Tensor gradWeight);

  /// Writes the sums of the rows of `gradOut`, float32.
  void linearBiasGradient(Tensor gradOut, Tensor gradBias);
}
