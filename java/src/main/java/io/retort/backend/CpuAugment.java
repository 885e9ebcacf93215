package io.retort.backend;

import io.retort.bindings.cpu.AugmentLibrary;
import io.retort.op.AugmentKernels;
import io.retort.op.Augmentation;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;

/// [AugmentKernels] on the CPU library.
final class CpuAugment implements AugmentKernels {

  @Override
  public void color(Augmentation.Color color, Tensor x, Tensor y) {
    Shape s = x.shape();
    AugmentLibrary.color(
        x.address(),
        y.target(),
        s.dim(0),
        s.dim(1) * s.dim(2),
        s.dim(3),
        color.brightness(),
        color.saturation(),
        color.contrast(),
        x.dtype().code());
  }

  @Override
  public void warp(Augmentation.Warp warp, double fill, Tensor x, Tensor y) {
    Shape s = x.shape();
    Augmentation.Warp map = warp.inPixels(s.dim(1), s.dim(2));
    AugmentLibrary.warpForward(
        x.address(),
        y.target(),
        s.dim(0),
        s.dim(1),
        s.dim(2),
        s.dim(3),
        map.a00(),
        map.a01(),
        map.a02(),
        map.a10(),
        map.a11(),
        map.a12(),
        fill,
        x.dtype().code());
  }

  @Override
  public void warpGradient(Augmentation.Warp warp, Tensor gradOut, Tensor gradX) {
    Shape s = gradX.shape();
    Augmentation.Warp map = warp.inPixels(s.dim(1), s.dim(2));
    AugmentLibrary.warpBackward(
        gradOut.address(),
        gradX.target(),
        s.dim(0),
        s.dim(1),
        s.dim(2),
        s.dim(3),
        map.a00(),
        map.a01(),
        map.a02(),
        map.a10(),
        map.a11(),
        map.a12(),
        gradX.dtype().code());
  }

  @Override
  public void cutout(Augmentation.Cutout cutout, double fill, Tensor x, Tensor y) {
    Shape s = x.shape();
    AugmentLibrary.cutout(
        x.address(),
        y.target(),
        s.dim(0),
        s.dim(1),
        s.dim(2),
        s.dim(3),
        cutout.top(),
        cutout.left(),
        cutout.bottom(),
        cutout.right(),
        fill,
        x.dtype().code());
  }
}
