package io.retort.backend;

import io.retort.bindings.cpu.Conv2dLibrary;
import io.retort.bindings.cpu.Conv2dLibrary.Geometry;
import io.retort.op.Conv2d;
import io.retort.op.ConvolutionKernels;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// [ConvolutionKernels] on the CPU library.
final class CpuConvolution implements ConvolutionKernels {

  @Override
  public void conv2d(
      Conv2d conv,
      Tensor x,
      Tensor weight,
      @Nullable Tensor bias,
      @Nullable Tensor shift,
      @Nullable Tensor residual,
      Tensor y) {
    Conv2dLibrary.forward(
        x.address(),
        weight.address(),
        address(bias),
        address(shift),
        address(residual),
        conv.tail().scale(),
        y.address(),
        geometry(conv, x, weight));
  }

  @Override
  public void conv2dDataGradient(Conv2d conv, Tensor gradOut, Tensor weight, Tensor gradX) {
    Conv2dLibrary.backwardData(
        gradOut.address(), weight.address(), gradX.address(), geometry(conv, gradX, weight));
  }

  @Override
  public void conv2dWeightGradient(
      Conv2d conv, Tensor x, Tensor gradOut, Tensor gradWeight, @Nullable Tensor gradBias) {
    Conv2dLibrary.backwardWeights(
        x.address(),
        gradOut.address(),
        gradWeight.address(),
        address(gradBias),
        geometry(conv, x, gradWeight));
  }

  private static Geometry geometry(Conv2d conv, Tensor x, Tensor weight) {
    Shape image = x.shape();
    Shape kernel = weight.shape();
    return new Geometry(
        image.dim(0),
        image.dim(1),
        image.dim(2),
        image.dim(3),
        kernel.dim(0),
        kernel.dim(2),
        kernel.dim(3),
        conv.stride(),
        conv.padding(),
        conv.groups(),
        x.dtype().code());
  }

  private static long address(@Nullable Tensor tensor) {
    return tensor == null ? 0 : tensor.address();
  }
}
