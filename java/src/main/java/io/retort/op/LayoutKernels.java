package io.retort.op;

import io.retort.tensor.Tensor;
import java.util.List;

/// Kernels that move elements of any type unchanged; source and target differ.
public interface LayoutKernels {

  /// Writes x to the places `at` and following of `out` along `axis`; the rest of `out` stays as it
  /// is.
  void insert(Tensor x, int axis, long at, Tensor out);

  /// Reads the places `begin` and following of x along `axis` into `out`, as many as it has.
  void slice(Tensor x, int axis, long begin, Tensor out);

  /// Writes x to the places `begin` and following of `out` along `axis`, and zero to all others.
  void unslice(Tensor x, int axis, long begin, Tensor out);

  /// Images `(N, H, W, C)` with zeroes around them.
  void pad(Tensor x, int top, int bottom, int left, int right, Tensor out);

  /// Images `(N, H, W, C)` without that border.
  void crop(Tensor x, int top, int bottom, int left, int right, Tensor out);

  /// Axis i of `out` is axis `axes[i]` of x.
  ///
  /// @throws UnsupportedOpException if the order needs more separate groups of axes than the kernel
  ///   has loops
  void permute(Tensor x, List<Integer> axes, Tensor out);
}
