package io.retort.backend;

import io.retort.op.OptimizerKernels;
import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// [OptimizerKernels] as `cuda/adam.cu` computes them: the squares of the gradient, then one pass
/// over the arenas.
///
/// Norm, clipping and the decision to change nothing are the device's. What differs from step to
/// step lies in device memory, so that a captured update stays valid.
final class CudaOptimizer implements OptimizerKernels {
  private static final int THREADS = 256;
  private static final int PACK = 4;

  /// Elements whose squares are worth a block, and the most partial sums the update adds again.
  private static final int ELEMENTS_PER_BLOCK = 4096;

  private static final int MOST_PARTIALS = 512;

  private final CudaContext context;

  /// Where partial sums and rates lie: one place for all networks, whose updates follow each other.
  private final long sumsAt;

  private final long ratesAt;
  private final CudaKernel squares;
  private final CudaKernel update;
  private final long residentBlocks;

  /// beta1, beta2, keep, rate, root, eps, blend and clip, as the kernel's `Rates` has them.
  private final float[] rates = new float[8];

  CudaOptimizer(CudaContext context) {
    this.context = context;
    var module = new CudaModule(context, "adam");
    squares = module.kernel("rt_adam_squares", "ppl");
    update = module.kernel("rt_adam_update", "ppppplpippp");
    sumsAt = context.permanent((long) Double.BYTES * MOST_PARTIALS + Float.BYTES * 8);
    ratesAt = sumsAt + (long) Double.BYTES * MOST_PARTIALS;
    residentBlocks = update.residentBlocks(THREADS, 0);
  }

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
    if (step < 1) {
      throw new IllegalArgumentException("adam: step must be >= 1, got " + step);
    }
    rates[0] = (float) beta1;
    rates[1] = (float) beta2;
    rates[2] = (float) (1 - lr * decay);
    rates[3] = (float) (lr / (1 - Math.pow(beta1, step)));
    rates[4] = (float) (1 / Math.sqrt(1 - Math.pow(beta2, step)));
    rates[5] = (float) eps;
    rates[6] = (float) (1 - emaDecay);
    rates[7] = (float) clip;
    context.memory().write(ratesAt, rates, 0, rates.length);
    long n = value.elements();
    int partials = (int) Math.min(MOST_PARTIALS, Math.ceilDiv(n, ELEMENTS_PER_BLOCK));
    squares.begin().pointer(gradient).address(sumsAt).i64(n).launch(partials, THREADS);
    update
        .begin()
        .pointer(value)
        .pointer(gradient)
        .pointer(m)
        .pointer(v)
        .pointer(ema)
        .i64(n)
        .address(sumsAt)
        .i32(partials)
        .address(ratesAt)
        .pointer(loss)
        .pointer(norm)
        .launch(Math.clamp(Math.ceilDiv(n, (long) THREADS * PACK), 1, residentBlocks), THREADS);
  }
}
