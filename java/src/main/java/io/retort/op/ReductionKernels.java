package io.retort.op;

import io.retort.tensor.Tensor;

/// Sums over the dropped axes of an [AxisGroups], and their transpose.
///
/// Sums are accumulated in float64 over fixed partitions: the same bits on any number of threads. A
/// GPU first adds at most eight neighbours in float32, by pairs. Inputs are float32 or bfloat16,
/// each tensor may have its own type. Cost: one read of each large input; memory-bound.
public interface ReductionKernels {

  /// `out_k = scale sum_d x_kd`.
  void sum(AxisGroups axes, Tensor x, double scale, Tensor out);

  /// `out_k = scale sum_d x_kd y_kd`; x and y are of one type.
  void sumOfProducts(AxisGroups axes, Tensor x, Tensor y, double scale, Tensor out);

  /// `out_kd = scale small_k`.
  void expand(AxisGroups axes, Tensor small, double scale, Tensor out);
}
