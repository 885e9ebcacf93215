package io.retort.backend;

import io.retort.op.RandomKernels;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Tensor;

/// [RandomKernels] as `cuda/random.cu` computes them.
///
/// Launches: blocks of 256 threads, each thread a Philox block or, in dropout, 16 bytes.
final class CudaRandom implements RandomKernels {
  private static final int PHILOX_BLOCK = 4;
  private static final long STREAM = 1L << 34;

  private final CudaKernel normal;
  private final CudaKernel uniform;
  private final CudaKernels dropout;

  CudaRandom(CudaContext context) {
    var module = new CudaModule(context, "random");
    normal = module.kernel("rt_random_normal", "plffkpl");
    uniform = module.kernel("rt_random_uniform", "plffkpl");
    dropout = module.typed("rt_dropout", "pplffkp");
  }

  @Override
  public void normal(Tensor out, PhiloxKey key, long first, double mean, double std) {
    fill(normal, out, key, first, mean, std);
  }

  @Override
  public void uniform(Tensor out, PhiloxKey key, long first, double low, double high) {
    fill(uniform, out, key, first, low, high - low);
  }

  private static void fill(
      CudaKernel kernel, Tensor out, PhiloxKey key, long first, double shift, double scale) {
    long n = out.elements();
    requireStream(first, n);
    kernel
        .begin()
        .pointer(out)
        .i64(n)
        .f32(shift)
        .f32(scale)
        .philox(key)
        .i64(first)
        .over(n == 0 ? 0 : first % PHILOX_BLOCK + n, PHILOX_BLOCK);
  }

  private static void requireStream(long first, long count) {
    if (first < 0 || count > STREAM - first) {
      throw new IllegalArgumentException(
          "random: elements must lie in [0, 2^34), got first " + first + " and count " + count);
    }
  }

  @Override
  public void dropout(Tensor x, PhiloxKey key, double p, Tensor out) {
    long n = x.elements();
    requireStream(0, n);
    dropout
        .begin(x.dtype())
        .pointer(x)
        .pointer(out)
        .i64(n)
        .f32(p)
        .f32(1 / (1 - p))
        .philox(key)
        .over(n, 16 / x.dtype().bytes());
  }
}
