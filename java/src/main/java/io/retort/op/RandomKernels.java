package io.retort.op;

import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Tensor;

/// Kernels that fill tensors from Philox streams; [io.retort.tensor.Philox] gives the same numbers
/// in Java.
///
/// Element i of the output is number `first + i` of the stream, whatever the shape and the number
/// of threads; without `first` it is number i. A stream has 2^34 numbers.
public interface RandomKernels {

  /// `out_i = mean + std z_i`, z standard normal; float32.
  void normal(Tensor out, PhiloxKey key, long first, double mean, double std);

  /// `out_i = mean + std z_i` from the start of the stream.
  default void normal(Tensor out, PhiloxKey key, double mean, double std) {
    normal(out, key, 0, mean, std);
  }

  /// `out_i = low + (high - low) u_i`, u uniform in [0, 1); float32.
  void uniform(Tensor out, PhiloxKey key, long first, double low, double high);

  /// `out_i = low + (high - low) u_i` from the start of the stream.
  default void uniform(Tensor out, PhiloxKey key, double low, double high) {
    uniform(out, key, 0, low, high);
  }

  /// `out_i = 0` where `u_i < p`, else `x_i / (1 - p)`; float32 or bfloat16, `0 <= p < 1`.
  void dropout(Tensor x, PhiloxKey key, double p, Tensor out);
}
