package io.retort.backend;

import io.retort.bindings.cpu.Conv2dLibrary;
import io.retort.bindings.cpu.Conv2dLibrary.Geometry;
import io.retort.bindings.cpu.Conv2dLibrary.Pass;
import io.retort.bindings.cpu.PackedLayout;
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
    Geometry geometry = geometry(conv, x, weight);
    Conv2dLibrary.forward(
        x.address(),
        weight.address(),
        packed(weight, geometry, Pass.FORWARD),
        address(bias),
        address(shift),
        address(residual),
        conv.tail().scale(),
        y.target(),
        geometry);
  }

  @Override
  public void conv2dDataGradient(Conv2d conv, Tensor gradOut, Tensor weight, Tensor gradX) {
    Geometry geometry = geometry(conv, gradX, weight);
    Conv2dLibrary.backwardData(
        gradOut.address(),
        weight.address(),
        packed(weight, geometry, Pass.DATA),
        gradX.target(),
        geometry);
  }

  @Override
  public void conv2dWeightGradient(
      Conv2d conv, Tensor x, Tensor gradOut, Tensor gradWeight, @Nullable Tensor gradBias) {
    Conv2dLibrary.backwardWeights(
        x.address(),
        gradOut.address(),
        gradWeight.target(),
        target(gradBias),
        geometry(conv, x, gradWeight));
  }

  /// The weight as such calls lay it out, 0 where they had better do that themselves.
  private static long packed(Tensor weight, Geometry geometry, Pass pass) {
    PackedLayout layout = Conv2dLibrary.layout(geometry, pass);
    return CpuMemory.packed(
        weight,
        layout,
        block -> Conv2dLibrary.pack(weight.address(), block, layout, geometry, pass));
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

  private static long target(@Nullable Tensor tensor) {
    return tensor == null ? 0 : tensor.target();
  }
}
