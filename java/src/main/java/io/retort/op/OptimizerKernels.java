package io.retort.op;

import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// Optimizer steps over flat float32 arenas.
public interface OptimizerKernels {

  /// Adam or AdamW (decoupled `decay`) with gradient clipping and an averaged copy, in place.
  ///
  /// Nothing is read back: where the norm or the loss is not finite, nothing but `norm` is changed.
  ///
  /// @param loss the float32 scalar whose gradient it is, null if that is known to be finite
  /// @param norm one int64 for the bits of the gradient norm before clipping, as a double
  /// @param step counted from 1
  /// @param clip largest gradient norm, 0 for none
  void adam(
      Tensor value,
      Tensor gradient,
      Tensor m,
      Tensor v,
      @Nullable Tensor ema,
      @Nullable Tensor loss,
      Tensor norm,
      long step,
      double lr,
      double beta1,
      double beta2,
      double eps,
      double decay,
      double clip,
      double emaDecay);
}
