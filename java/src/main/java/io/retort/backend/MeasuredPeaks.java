package io.retort.backend;

import io.retort.op.Backend;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;

/// The best a machine was seen to do: what the kernels of a profile are held against.
///
/// @param float32 FLOP/s of a float32 product of square matrices
/// @param bfloat16 the same in bfloat16
/// @param copy bytes/s, read and written, of a copy that no cache holds
public record MeasuredPeaks(double float32, double bfloat16, double copy) {
  private static final int SIDE = 1024;
  private static final long COPIED = 1L << 26;
  private static final int TIMES = 5;

  /// Measures a backend whose calls return when their work is done; takes about half a second.
  public static MeasuredPeaks of(Backend backend) {
    try (var scope = new Scope(backend.memory())) {
      Tensor from = scope.zeros(Shape.of(COPIED / Float.BYTES), DType.F32);
      Tensor to = scope.zeros(Shape.of(COPIED / Float.BYTES), DType.F32);
      double seconds = best(() -> backend.memory().copy(from.address(), to.address(), COPIED));
      return new MeasuredPeaks(
          product(backend, scope, DType.F32),
          product(backend, scope, DType.BF16),
          2 * COPIED / seconds);
    }
  }

  /// FLOP/s that products in a type can reach.
  public double flops(DType type) {
    return type == DType.BF16 ? bfloat16 : float32;
  }

  /// Seconds that a kernel's work takes at least: the larger of arithmetic and traffic.
  ///
  /// Tensors that a cache holds can be faster than the copy, so this is a yardstick, not a law.
  public double seconds(KernelProfile.Row row) {
    return Math.max(row.flops() / flops(row.type()), row.bytes() / copy);
  }

  private static double product(Backend backend, Scope scope, DType type) {
    Shape square = Shape.of(SIDE, SIDE);
    Tensor a = scope.zeros(square, type);
    Tensor b = scope.zeros(square, type);
    Tensor c = scope.zeros(square, type);
    double seconds = best(() -> backend.products().matmul(a, false, b, true, c));
    return 2.0 * SIDE * SIDE * SIDE / seconds;
  }

  private static double best(Runnable work) {
    double best = Double.POSITIVE_INFINITY;
    for (int i = 0; i <= TIMES; i++) {
      long started = System.nanoTime();
      work.run();
      best = Math.min(best, (System.nanoTime() - started) / 1e9);
    }
    return best;
  }
}
