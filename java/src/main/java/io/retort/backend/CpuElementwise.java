package io.retort.backend;

import io.retort.bindings.cpu.ElementwiseLibrary;
import io.retort.op.Activation;
import io.retort.op.AxisGroups;
import io.retort.op.Broadcast;
import io.retort.op.ElementwiseKernels;
import io.retort.tensor.Tensor;

/// [ElementwiseKernels] on the CPU library.
final class CpuElementwise implements ElementwiseKernels {

  @Override
  public void axpby(double alpha, Tensor x, double beta, Tensor y, Tensor out) {
    ElementwiseLibrary.axpby(
        alpha, x.address(), beta, y.address(), out.target(), x.elements(), x.dtype().code());
  }

  @Override
  public void accumulate(Tensor x, Tensor into) {
    ElementwiseLibrary.accumulate(x.address(), into.target(), x.elements(), x.dtype().code());
  }

  @Override
  public void affine(Tensor x, double scale, double shift, Tensor out) {
    ElementwiseLibrary.affine(
        x.address(), scale, shift, out.target(), x.elements(), x.dtype().code());
  }

  @Override
  public void multiply(Tensor a, Tensor b, Tensor out) {
    ElementwiseLibrary.multiply(
        a.address(), b.address(), out.target(), a.elements(), a.dtype().code());
  }

  @Override
  public void activation(Activation.Kind kind, double slope, Tensor x, Tensor out) {
    ElementwiseLibrary.activationForward(
        x.address(), out.target(), kind.code(), slope, x.elements(), x.dtype().code());
  }

  @Override
  public void activationGradient(
      Activation.Kind kind, double slope, Tensor x, Tensor gradOut, Tensor out) {
    ElementwiseLibrary.activationBackward(
        x.address(),
        gradOut.address(),
        out.target(),
        kind.code(),
        slope,
        x.elements(),
        x.dtype().code());
  }

  @Override
  public void cast(Tensor x, Tensor out) {
    ElementwiseLibrary.cast(
        x.address(), out.target(), x.elements(), x.dtype().code(), out.dtype().code());
  }

  @Override
  public void broadcast(Broadcast.Kind kind, AxisGroups axes, Tensor a, Tensor b, Tensor out) {
    ElementwiseLibrary.broadcast(
        a.address(),
        b.address(),
        out.target(),
        kind.code(),
        axes.k0(),
        axes.d0(),
        axes.k1(),
        axes.d1(),
        axes.k2(),
        axes.d2(),
        a.dtype().code(),
        b.dtype().code());
  }
}
