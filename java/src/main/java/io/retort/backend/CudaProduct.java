package io.retort.backend;

import io.retort.op.AxisGroups;
import io.retort.op.ProductKernels;
import io.retort.tensor.DType;
import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// [ProductKernels] as `cuda/matmul.cu` computes them.
final class CudaProduct implements ProductKernels {
  private final CudaGemm gemm;
  private final CudaReduction sums;

  CudaProduct(CudaContext context) {
    this(new CudaGemm(context), new CudaReduction(context));
  }

  CudaProduct(CudaGemm gemm, CudaReduction sums) {
    this.gemm = gemm;
    this.sums = sums;
  }

  @Override
  public void matmul(Tensor a, boolean transposeA, Tensor b, boolean transposeB, Tensor c) {
    DType type = c.dtype();
    long m = c.shape().dim(-2);
    long n = c.shape().last();
    long k = a.shape().dim(transposeA ? -2 : -1);
    long matrices = c.elements() / (m * n);
    var product = new CudaGemm.Product(type, matrices, m, n, k, transposeA, transposeB);
    try (var left = matrix(a);
        var right = matrix(b)) {
      gemm.multiply(product, left, right, 0, c.address(), type);
    }
  }

  private CudaGemm.Matrix matrix(Tensor x) {
    return gemm.pack(x.address(), x.dtype(), x.dtype(), rows(x), x.shape().last());
  }

  @Override
  public void linear(Tensor x, Tensor weight, @Nullable Tensor bias, Tensor y) {
    gemm.linear(
        x.dtype(),
        x.address(),
        weight.address(),
        bias == null ? 0 : bias.address(),
        y.address(),
        rows(x),
        x.shape().last(),
        y.shape().last());
  }

  @Override
  public void linearDataGradient(Tensor gradOut, Tensor weight, Tensor gradX) {
    gemm.linearData(
        gradX.dtype(),
        gradOut.address(),
        weight.address(),
        gradX.address(),
        rows(gradX),
        gradX.shape().last(),
        gradOut.shape().last());
  }

  @Override
  public void linearWeightGradient(Tensor x, Tensor gradOut, Tensor gradWeight) {
    gemm.linearWeight(
        x.dtype(),
        x.address(),
        gradOut.address(),
        gradWeight.address(),
        rows(x),
        x.shape().last(),
        gradOut.shape().last());
  }

  @Override
  public void linearBiasGradient(Tensor gradOut, Tensor gradBias) {
    sums.sum(
        new AxisGroups(1, 1, 1, rows(gradOut), gradOut.shape().last(), 1), gradOut, 1, gradBias);
  }

  private static long rows(Tensor x) {
    return x.elements() / x.shape().last();
  }
}
