package io.retort.op;

import io.retort.tensor.Tensor;
import java.util.List;

/// Kernels that change the resolution of images (N, H, W, C).
///
/// All tensors of a call have one floating type; outputs overlap no input.
public interface ResampleKernels {

  /// `y` = means or maxima of the windows of `x`.
  void pool(Pool.Kind kind, int kernel, int stride, Tensor x, Tensor y);

  /// `gradX` = gradient of [#pool]; x is read for maxima only.
  void poolGradient(Pool.Kind kind, int kernel, int stride, Tensor x, Tensor gradOut, Tensor gradX);

  /// `y` = `x` halved or doubled.
  void resample(Resample.Direction direction, List<Double> filter, Tensor x, Tensor y);

  /// `gradX` = gradient of [#resample].
  void resampleGradient(
      Resample.Direction direction, List<Double> filter, Tensor gradOut, Tensor gradX);
}
