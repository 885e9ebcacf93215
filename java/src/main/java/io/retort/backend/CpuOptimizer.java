package io.retort.backend;

import io.retort.bindings.cpu.AdamLibrary;
import io.retort.op.OptimizerKernels;
import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// [OptimizerKernels] on the CPU library.
final class CpuOptimizer implements OptimizerKernels {

  @Override
  public void adam(
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
      double emaDecay) {
    if (loss != null && !Float.isFinite(loss.item())) {
      norm.set(Double.doubleToRawLongBits(Double.NaN));
      return;
    }
    double length =
        AdamLibrary.step(
            value.target(),
            gradient.address(),
            m.target(),
            v.target(),
            ema == null ? 0 : ema.target(),
            value.elements(),
            step,
            lr,
            beta1,
            beta2,
            eps,
            decay,
            clip,
            emaDecay);
    norm.set(Double.doubleToRawLongBits(length));
  }
}
