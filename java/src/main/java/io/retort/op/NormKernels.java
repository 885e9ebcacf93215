package io.retort.op;

import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// Kernels that normalise by statistics of their input.
///
/// x, y and their gradients share one floating type; gamma, beta (C), their gradients and the
/// statistics are float32. A gradient that is null is not wanted. Outputs overlap no input.
public interface NormKernels {

  /// `y = silu?((x - mean_g) rstd_g gamma_c + beta_c)`; also writes mean and rstd `(N, groups)`.
  void groupNorm(
      int groups,
      double eps,
      boolean silu,
      Tensor x,
      Tensor gamma,
      Tensor beta,
      Tensor y,
      Tensor mean,
      Tensor rstd);

  /// Gradients of [#groupNorm] from its input and statistics.
  void groupNormGradient(
      int groups,
      boolean silu,
      Tensor x,
      Tensor gradOut,
      Tensor gamma,
      Tensor beta,
      Tensor mean,
      Tensor rstd,
      @Nullable Tensor gradX,
      @Nullable Tensor gradGamma,
      @Nullable Tensor gradBeta);

  /// `y = (x - mean) rstd gamma_c + beta_c` over the last axis; also writes mean and rstd, one a
  /// row.
  void layerNorm(
      double eps, Tensor x, Tensor gamma, Tensor beta, Tensor y, Tensor mean, Tensor rstd);

  /// Gradients of [#layerNorm] from its input and statistics.
  void layerNormGradient(
      Tensor x,
      Tensor gradOut,
      Tensor gamma,
      Tensor mean,
      Tensor rstd,
      @Nullable Tensor gradX,
      @Nullable Tensor gradGamma,
      @Nullable Tensor gradBeta);
}
