package io.retort.op;

import io.retort.tensor.Tensor;

/// Kernels that transform every image (N, H, W, C) of a batch alike.
///
/// x and y have one shape and one floating type.
public interface AugmentKernels {

  /// `y` = recoloured x; with brightness 0 also its own gradient.
  void color(Augmentation.Color color, Tensor x, Tensor y);

  /// `y` = x sampled along the map, `fill` from outside; y does not overlap x.
  void warp(Augmentation.Warp warp, double fill, Tensor x, Tensor y);

  /// `gradX` = gradient of [#warp]; it does not overlap gradOut.
  void warpGradient(Augmentation.Warp warp, Tensor gradOut, Tensor gradX);

  /// `y` = x with a hole of `fill`; with fill 0 also its own gradient.
  void cutout(Augmentation.Cutout cutout, double fill, Tensor x, Tensor y);
}
