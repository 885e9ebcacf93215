package io.retort.op;

import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// Kernels of [Conv2d]; shapes and types as its documentation says.
public interface ConvolutionKernels {

  /// Writes `y`; `shift` and `residual` where the convolution's tail has them.
  void conv2d(
      Conv2d conv,
      Tensor x,
      Tensor weight,
      @Nullable Tensor bias,
      @Nullable Tensor shift,
      @Nullable Tensor residual,
      Tensor y);

  /// Writes `gradX`.
  void conv2dDataGradient(Conv2d conv, Tensor gradOut, Tensor weight, Tensor gradX);

  /// Writes `gradWeight`, and `gradBias` where there is one; both float32.
  void conv2dWeightGradient(
      Conv2d conv, Tensor x, Tensor gradOut, Tensor gradWeight, @Nullable Tensor gradBias);
}
