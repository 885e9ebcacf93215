package io.retort.backend;

import io.retort.op.SoftmaxKernels;
import io.retort.tensor.Tensor;

/// [SoftmaxKernels] as `cuda/softmax.cu` computes them.
///
/// Up to 1024 classes a warp keeps a row in registers, a longer row has a block. A label out of
/// range makes the loss NaN, and the next read throws what [CudaFaults] says: nothing waits for the
/// check.
final class CudaSoftmax implements SoftmaxKernels {
  private static final int THREADS = 256;
  private static final int ROWS_OF_BLOCK = THREADS / 32;
  private static final int MOST_CLASSES_OF_WARP = 1024;
  private static final int ACCESS_BYTES = 16;

  private final CudaContext context;
  private final CudaKernels softmax;
  private final CudaKernels softmaxLong;
  private final CudaKernels softmaxGradient;
  private final CudaKernels softmaxGradientLong;
  private final CudaKernels crossEntropy;
  private final CudaKernels crossEntropyLong;
  private final CudaKernels crossEntropyGradient;
  private final CudaKernel crossEntropyMean;

  CudaSoftmax(CudaContext context) {
    this.context = context;
    var module = new CudaModule(context, "softmax");
    softmax = module.typed("rt_softmax_warp", "pplli");
    softmaxLong = module.typed("rt_softmax_block", "pplli");
    softmaxGradient = module.typed("rt_softmax_gradient_warp", "ppplli");
    softmaxGradientLong = module.typed("rt_softmax_gradient_block", "ppplli");
    crossEntropy = module.typed("rt_cross_entropy_warp", "pppplli");
    crossEntropyLong = module.typed("rt_cross_entropy_block", "pppplli");
    crossEntropyGradient = module.typed("rt_cross_entropy_gradient", "pppplli");
    crossEntropyMean = module.kernel("rt_cross_entropy_mean", "pppllp");
  }

  @Override
  public void softmax(Tensor x, Tensor y) {
    CudaKernels kernels = fitsWarp(x) ? softmax : softmaxLong;
    launch(kernels.begin(x.dtype()).pointer(x).pointer(y), x, packed(x, x.address() | y.address()));
  }

  @Override
  public void softmaxGradient(Tensor y, Tensor gradOut, Tensor gradX) {
    CudaKernels kernels = fitsWarp(y) ? softmaxGradient : softmaxGradientLong;
    launch(
        kernels.begin(y.dtype()).pointer(y).pointer(gradOut).pointer(gradX),
        y,
        packed(y, y.address() | gradOut.address() | gradX.address()));
  }

  @Override
  public void crossEntropy(Tensor logits, Tensor labels, Tensor loss, Tensor probabilities) {
    CudaKernels kernels = fitsWarp(logits) ? crossEntropy : crossEntropyLong;
    try (var losses = context.memory().scratch(rows(logits) * Float.BYTES)) {
      CudaKernel kernel = kernels.begin(logits.dtype());
      kernel.pointer(logits).pointer(labels).address(losses.address()).pointer(probabilities);
      launch(kernel, logits, packed(logits, logits.address() | probabilities.address()));
      crossEntropyMean
          .begin()
          .address(losses.address())
          .pointer(labels)
          .pointer(loss)
          .i64(rows(logits))
          .i64(classes(logits))
          .address(context.faults().address())
          .launch(1, THREADS);
    }
  }

  @Override
  public void crossEntropyGradient(
      Tensor probabilities, Tensor labels, Tensor gradOut, Tensor gradLogits) {
    boolean packed = packed(gradLogits, gradLogits.address() | probabilities.address());
    crossEntropyGradient
        .begin(gradLogits.dtype())
        .pointer(probabilities)
        .pointer(labels)
        .pointer(gradOut)
        .pointer(gradLogits)
        .i64(rows(gradLogits))
        .i64(classes(gradLogits))
        .flag(packed)
        .over(gradLogits.elements(), packed ? ACCESS_BYTES / gradLogits.dtype().bytes() : 1);
  }

  /// The row-wise kernels' last arguments, and a warp or a block for each row.
  private static void launch(CudaKernel kernel, Tensor x, boolean packed) {
    long blocks = fitsWarp(x) ? Math.ceilDiv(rows(x), ROWS_OF_BLOCK) : rows(x);
    kernel
        .i64(rows(x))
        .i64(classes(x))
        .flag(packed)
        .launch(Math.min(blocks, Integer.MAX_VALUE), THREADS);
  }

  private static boolean fitsWarp(Tensor x) {
    return classes(x) <= MOST_CLASSES_OF_WARP;
  }

  /// Whether 16-byte accesses of rows like those of `x` fit, at these addresses or-ed together.
  private static boolean packed(Tensor x, long addresses) {
    return classes(x) % (ACCESS_BYTES / x.dtype().bytes()) == 0 && addresses % ACCESS_BYTES == 0;
  }

  private static long classes(Tensor x) {
    return x.shape().last();
  }

  private static long rows(Tensor x) {
    return x.elements() / classes(x);
  }
}
