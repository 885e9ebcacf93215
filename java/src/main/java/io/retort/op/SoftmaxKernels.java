package io.retort.op;

import io.retort.tensor.Tensor;

/// Kernels of [Softmax] and [CrossEntropy]; shapes and types as their documentation says.
public interface SoftmaxKernels {

  /// Writes `y`, the softmax of `x` over the last axis.
  void softmax(Tensor x, Tensor y);

  /// Writes `gradX` from the output `y` and its gradient.
  void softmaxGradient(Tensor y, Tensor gradOut, Tensor gradX);

  /// Writes the scalar `loss` and the float32 `probabilities` of the logits.
  ///
  /// @throws RuntimeException naming the label and its row if one is out of range; where kernels
  ///   are queued, the loss is NaN and the next read throws
  void crossEntropy(Tensor logits, Tensor labels, Tensor loss, Tensor probabilities);

  /// Writes `gradLogits` from the scalar `gradOut`.
  void crossEntropyGradient(Tensor probabilities, Tensor labels, Tensor gradOut, Tensor gradLogits);
}
