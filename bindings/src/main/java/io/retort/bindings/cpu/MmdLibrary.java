package io.retort.bindings.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/// The operation of `retort/mmd.h`; addresses are raw, the header says what they hold.
public final class MmdLibrary {
  private static final MethodHandle MMD = NativeLibrary.bind("rt_mmd", "ppppllliplii");

  private MmdLibrary() {}

  /// `gradient` may be 0 if only the value is wanted; `numbers` are those of the kernel.
  public static void mmd(
      long u,
      long v,
      long loss,
      long gradient,
      long n,
      long m,
      long d,
      int kernel,
      double[] numbers,
      boolean unbiased,
      int dtype) {
    int status;
    try (var arena = Arena.ofConfined()) {
      long address = arena.allocateFrom(ValueLayout.JAVA_DOUBLE, numbers).address();
      long count = numbers.length;
      int estimator = unbiased ? 1 : 0;
      try {
        status =
            (int)
                MMD.invokeExact(
                    u, v, loss, gradient, n, m, d, kernel, address, count, estimator, dtype);
      } catch (Throwable e) {
        throw NativeLibrary.unreachable(e);
      }
    }
    NativeLibrary.check(status, "rt_mmd");
  }
}
