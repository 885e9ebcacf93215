package io.retort.backend;

import io.retort.bindings.cpu.MatMulLibrary;
import io.retort.bindings.cpu.PackedLayout;
import io.retort.op.ProductKernels;
import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// [ProductKernels] on the CPU library.
final class CpuProduct implements ProductKernels {

  @Override
  public void matmul(Tensor a, boolean transposeA, Tensor b, boolean transposeB, Tensor c) {
    long m = c.shape().dim(-2);
    long n = c.shape().last();
    MatMulLibrary.matmul(
        a.address(),
        b.address(),
        c.target(),
        c.elements() / (m * n),
        m,
        n,
        a.shape().dim(transposeA ? -2 : -1),
        transposeA,
        transposeB,
        c.dtype().code());
  }

  @Override
  public void linear(Tensor x, Tensor weight, @Nullable Tensor bias, Tensor y) {
    long rows = rows(x);
    long in = x.shape().last();
    long out = y.shape().last();
    int dtype = x.dtype().code();
    PackedLayout layout = MatMulLibrary.linearLayout(rows, in, out, dtype);
    long packed =
        CpuMemory.packed(
            weight,
            layout,
            block ->
                MatMulLibrary.linearPack(weight.address(), block, layout, rows, in, out, dtype));
    MatMulLibrary.linearForward(
        x.address(),
        weight.address(),
        packed,
        bias == null ? 0 : bias.address(),
        y.target(),
        rows,
        in,
        out,
        dtype);
  }

  @Override
  public void linearDataGradient(Tensor gradOut, Tensor weight, Tensor gradX) {
    MatMulLibrary.linearBackwardData(
        gradOut.address(),
        weight.address(),
        gradX.target(),
        rows(gradX),
        gradX.shape().last(),
        gradOut.shape().last(),
        gradX.dtype().code());
  }

  @Override
  public void linearWeightGradient(Tensor x, Tensor gradOut, Tensor gradWeight) {
    MatMulLibrary.linearBackwardWeight(
        x.address(),
        gradOut.address(),
        gradWeight.target(),
        rows(x),
        x.shape().last(),
        gradOut.shape().last(),
        x.dtype().code());
  }

  @Override
  public void linearBiasGradient(Tensor gradOut, Tensor gradBias) {
    MatMulLibrary.linearBackwardBias(
        gradOut.address(),
        gradBias.target(),
        rows(gradOut),
        gradOut.shape().last(),
        gradOut.dtype().code());
  }

  private static long rows(Tensor x) {
    return x.elements() / x.shape().last();
  }
}
