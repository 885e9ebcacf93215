package io.retort.backend;

import io.retort.bindings.cpu.MmdLibrary;
import io.retort.op.MmdKernel;
import io.retort.op.MmdKernels;
import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// [MmdKernels] on the CPU library.
final class CpuMmd implements MmdKernels {

  @Override
  public void mmd(
      MmdKernel kernel,
      boolean unbiased,
      Tensor u,
      Tensor v,
      Tensor loss,
      @Nullable Tensor gradient) {
    MmdLibrary.mmd(
        u.address(),
        v.address(),
        loss.target(),
        gradient == null ? 0 : gradient.target(),
        u.shape().dim(0),
        v.shape().dim(0),
        u.shape().last(),
        code(kernel),
        numbers(kernel),
        unbiased,
        u.dtype().code());
  }

  /// The number of a kernel in `retort/mmd.h`.
  private static int code(MmdKernel kernel) {
    return switch (kernel) {
      case MmdKernel.Linear _ -> 0;
      case MmdKernel.Rbf _ -> 1;
      case MmdKernel.Polynomial _ -> 2;
      case MmdKernel.Energy _ -> 3;
    };
  }

  private static double[] numbers(MmdKernel kernel) {
    return switch (kernel) {
      case MmdKernel.Linear _, MmdKernel.Energy _ -> new double[0];
      case MmdKernel.Rbf rbf ->
          rbf.bandwidthFactors().stream().mapToDouble(Double::doubleValue).toArray();
      case MmdKernel.Polynomial(int degree, double scale, double offset) ->
          new double[] {degree, scale, offset};
    };
  }
}
