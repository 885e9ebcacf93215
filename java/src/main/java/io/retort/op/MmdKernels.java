package io.retort.op;

import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// Kernel two-sample statistics that never hold the kernel matrix.
public interface MmdKernels {

  /// Squared maximum mean discrepancy of u `(n, d)` and v `(m, d)` into `loss ()`, and its
  /// derivative with respect to u into `gradient (n, d)` unless that is null. u and v share a
  /// floating type, loss and gradient are float32.
  void mmd(
      MmdKernel kernel,
      boolean unbiased,
      Tensor u,
      Tensor v,
      Tensor loss,
      @Nullable Tensor gradient);
}
