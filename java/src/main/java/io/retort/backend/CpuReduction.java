package io.retort.backend;

import io.retort.bindings.cpu.ReductionLibrary;
import io.retort.op.AxisGroups;
import io.retort.op.ReductionKernels;
import io.retort.tensor.Tensor;

/// [ReductionKernels] on the CPU library.
final class CpuReduction implements ReductionKernels {

  @Override
  public void sum(AxisGroups axes, Tensor x, double scale, Tensor out) {
    ReductionLibrary.sum(
        x.address(),
        out.target(),
        scale,
        axes.k0(),
        axes.d0(),
        axes.k1(),
        axes.d1(),
        axes.k2(),
        axes.d2(),
        x.dtype().code(),
        out.dtype().code());
  }

  @Override
  public void sumOfProducts(AxisGroups axes, Tensor x, Tensor y, double scale, Tensor out) {
    ReductionLibrary.sumOfProducts(
        x.address(),
        y.address(),
        out.target(),
        scale,
        axes.k0(),
        axes.d0(),
        axes.k1(),
        axes.d1(),
        axes.k2(),
        axes.d2(),
        x.dtype().code(),
        out.dtype().code());
  }

  @Override
  public void expand(AxisGroups axes, Tensor small, double scale, Tensor out) {
    ReductionLibrary.expand(
        small.address(),
        out.target(),
        scale,
        axes.k0(),
        axes.d0(),
        axes.k1(),
        axes.d1(),
        axes.k2(),
        axes.d2(),
        small.dtype().code(),
        out.dtype().code());
  }
}
