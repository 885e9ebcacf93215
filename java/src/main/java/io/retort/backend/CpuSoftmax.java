package io.retort.backend;

import io.retort.bindings.cpu.SoftmaxLibrary;
import io.retort.op.SoftmaxKernels;
import io.retort.tensor.Tensor;

/// [SoftmaxKernels] on the CPU library.
final class CpuSoftmax implements SoftmaxKernels {

  @Override
  public void softmax(Tensor x, Tensor y) {
    SoftmaxLibrary.forward(x.address(), y.target(), rows(x), x.shape().last(), x.dtype().code());
  }

  @Override
  public void softmaxGradient(Tensor y, Tensor gradOut, Tensor gradX) {
    SoftmaxLibrary.backward(
        y.address(),
        gradOut.address(),
        gradX.target(),
        rows(y),
        y.shape().last(),
        y.dtype().code());
  }

  @Override
  public void crossEntropy(Tensor logits, Tensor labels, Tensor loss, Tensor probabilities) {
    SoftmaxLibrary.crossEntropyForward(
        logits.address(),
        labels.address(),
        loss.target(),
        probabilities.target(),
        rows(logits),
        logits.shape().last(),
        logits.dtype().code());
  }

  @Override
  public void crossEntropyGradient(
      Tensor probabilities, Tensor labels, Tensor gradOut, Tensor gradLogits) {
    SoftmaxLibrary.crossEntropyBackward(
        probabilities.address(),
        labels.address(),
        gradOut.address(),
        gradLogits.target(),
        rows(gradLogits),
        gradLogits.shape().last(),
        gradLogits.dtype().code());
  }

  private static long rows(Tensor x) {
    return x.elements() / x.shape().last();
  }
}
