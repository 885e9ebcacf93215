package io.retort.op;

import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// Optimizer steps over flat float32 arenas.
public interface OptimizerKernels {

  /// Adam or AdamW (decoupled `decay`) with gradient clipping and an averaged copy, in place.
  ///
  /// @param step counted from 1
  /// @param clip largest gradient norm, 0 for none
  /// @return the gradient norm before clipping; if not finite, nothing was changed
  double adam(
      Tensor value,
      Tensor gradient,
      Tensor m,
      Tensor v,
      @Nullable Tensor ema,
      long step,
      double lr,
      double beta1,
      double beta2,
      double eps,
      double decay,
      double clip,
      double emaDecay);
}
