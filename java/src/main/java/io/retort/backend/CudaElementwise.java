package io.retort.backend;

import io.retort.op.Activation;
import io.retort.op.AxisGroups;
import io.retort.op.Broadcast;
import io.retort.op.ElementwiseKernels;
import io.retort.tensor.DType;
import io.retort.tensor.Memory;
import io.retort.tensor.Tensor;

/// [ElementwiseKernels] as `cuda/elementwise.cu` computes them.
///
/// Launches: blocks of 256 threads, each thread a pack of 16 bytes of the narrowest type.
final class CudaElementwise implements ElementwiseKernels {
  private final CudaKernels axpby;
  private final CudaKernels accumulate;
  private final CudaKernels affine;
  private final CudaKernels multiply;
  private final CudaKernels activation;
  private final CudaKernels activationGradient;
  private final CudaKernels broadcast;
  private final CudaKernel widen;
  private final CudaKernel narrow;

  CudaElementwise(CudaContext context) {
    var module = new CudaModule(context, "elementwise");
    axpby = module.typed("rt_axpby", "fpfppl");
    accumulate = module.typed("rt_accumulate", "ppl");
    affine = module.typed("rt_affine", "pffpl");
    multiply = module.typed("rt_multiply", "pppl");
    activation = module.typed("rt_activation", "ppifl");
    activationGradient = module.typed("rt_activation_gradient", "pppifl");
    broadcast = module.paired("rt_broadcast", "pppillllll");
    widen = module.kernel("rt_cast_bf16_f32", "ppl");
    narrow = module.kernel("rt_cast_f32_bf16", "ppl");
  }

  /// Elements that a thread takes at once.
  private static int pack(DType narrowest) {
    return 16 / narrowest.bytes();
  }

  @Override
  public void axpby(double alpha, Tensor x, double beta, Tensor y, Tensor out) {
    long n = x.elements();
    axpby
        .begin(x.dtype())
        .f32(alpha)
        .pointer(x)
        .f32(beta)
        .pointer(y)
        .pointer(out)
        .i64(n)
        .over(n, pack(x.dtype()));
  }

  @Override
  public void accumulate(Tensor x, Tensor into) {
    long n = x.elements();
    accumulate.begin(x.dtype()).pointer(x).pointer(into).i64(n).over(n, pack(x.dtype()));
  }

  @Override
  public void affine(Tensor x, double scale, double shift, Tensor out) {
    long n = x.elements();
    affine
        .begin(x.dtype())
        .pointer(x)
        .f32(scale)
        .f32(shift)
        .pointer(out)
        .i64(n)
        .over(n, pack(x.dtype()));
  }

  @Override
  public void multiply(Tensor a, Tensor b, Tensor out) {
    long n = a.elements();
    multiply.begin(a.dtype()).pointer(a).pointer(b).pointer(out).i64(n).over(n, pack(a.dtype()));
  }

  @Override
  public void activation(Activation.Kind kind, double slope, Tensor x, Tensor out) {
    long n = x.elements();
    activation
        .begin(x.dtype())
        .pointer(x)
        .pointer(out)
        .i32(kind.code())
        .f32(slope)
        .i64(n)
        .over(n, pack(x.dtype()));
  }

  @Override
  public void activationGradient(
      Activation.Kind kind, double slope, Tensor x, Tensor gradOut, Tensor out) {
    long n = x.elements();
    activationGradient
        .begin(x.dtype())
        .pointer(x)
        .pointer(gradOut)
        .pointer(out)
        .i32(kind.code())
        .f32(slope)
        .i64(n)
        .over(n, pack(x.dtype()));
  }

  @Override
  public void cast(Tensor x, Tensor out) {
    if (x.dtype() == out.dtype()) {
      Memory memory = out.memory();
      memory.copy(x.address(), out.address(), x.bytes());
      return;
    }
    long n = x.elements();
    CudaKernel kernel = x.dtype() == DType.BF16 ? widen : narrow;
    kernel.begin().pointer(x).pointer(out).i64(n).over(n, pack(DType.BF16));
  }

  @Override
  public void broadcast(Broadcast.Kind kind, AxisGroups axes, Tensor a, Tensor b, Tensor out) {
    broadcast
        .begin(a.dtype(), b.dtype())
        .pointer(a)
        .pointer(b)
        .pointer(out)
        .i32(kind.code())
        .i64(axes.k0())
        .i64(axes.d0())
        .i64(axes.k1())
        .i64(axes.d1())
        .i64(axes.k2())
        .i64(axes.d2())
        .over(a.elements(), pack(a.dtype()));
  }
}
