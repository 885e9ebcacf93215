package io.retort.backend;

import io.retort.bindings.cpu.NormLibrary;
import io.retort.op.NormKernels;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// [NormKernels] on the CPU library.
final class CpuNorm implements NormKernels {

  @Override
  public void groupNorm(
      int groups,
      double eps,
      boolean silu,
      Tensor x,
      Tensor gamma,
      Tensor beta,
      Tensor y,
      Tensor mean,
      Tensor rstd) {
    Shape shape = x.shape();
    NormLibrary.groupForward(
        x.address(),
        gamma.address(),
        beta.address(),
        y.target(),
        mean.target(),
        rstd.target(),
        shape.dim(0),
        positions(shape),
        shape.last(),
        groups,
        eps,
        silu ? 1 : 0,
        x.dtype().code());
  }

  @Override
  public void groupNormGradient(
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
      @Nullable Tensor gradBeta) {
    Shape shape = x.shape();
    NormLibrary.groupBackward(
        x.address(),
        gradOut.address(),
        gamma.address(),
        beta.address(),
        mean.address(),
        rstd.address(),
        target(gradX),
        target(gradGamma),
        target(gradBeta),
        shape.dim(0),
        positions(shape),
        shape.last(),
        groups,
        silu ? 1 : 0,
        x.dtype().code());
  }

  @Override
  public void layerNorm(
      double eps, Tensor x, Tensor gamma, Tensor beta, Tensor y, Tensor mean, Tensor rstd) {
    NormLibrary.layerForward(
        x.address(),
        gamma.address(),
        beta.address(),
        y.target(),
        mean.target(),
        rstd.target(),
        mean.elements(),
        x.shape().last(),
        eps,
        x.dtype().code());
  }

  @Override
  public void layerNormGradient(
      Tensor x,
      Tensor gradOut,
      Tensor gamma,
      Tensor mean,
      Tensor rstd,
      @Nullable Tensor gradX,
      @Nullable Tensor gradGamma,
      @Nullable Tensor gradBeta) {
    NormLibrary.layerBackward(
        x.address(),
        gradOut.address(),
        gamma.address(),
        mean.address(),
        rstd.address(),
        target(gradX),
        target(gradGamma),
        target(gradBeta),
        mean.elements(),
        x.shape().last(),
        x.dtype().code());
  }

  private static long positions(Shape shape) {
    return shape.elements() / (shape.dim(0) * shape.last());
  }

  private static long target(@Nullable Tensor tensor) {
    return tensor == null ? 0 : tensor.target();
  }
}
