package io.retort.bindings.cpu;

import java.lang.invoke.MethodHandle;

/// The operations of `retort/matmul.h`; addresses are raw, the header says what they hold.
public final class MatMulLibrary {
  private static final MethodHandle MATMUL = NativeLibrary.bind("rt_matmul", "ppplllliii");
  private static final MethodHandle LINEAR_FORWARD =
      NativeLibrary.bind("rt_linear_forward", "ppppllli");
  private static final MethodHandle LINEAR_BACKWARD_DATA =
      NativeLibrary.bind("rt_linear_backward_data", "pppllli");
  private static final MethodHandle LINEAR_BACKWARD_WEIGHT =
      NativeLibrary.bind("rt_linear_backward_weight", "pppllli");
  private static final MethodHandle LINEAR_BACKWARD_BIAS =
      NativeLibrary.bind("rt_linear_backward_bias", "pplli");

  private MatMulLibrary() {}

  public static void matmul(
      long a,
      long b,
      long c,
      long batch,
      long m,
      long n,
      long k,
      boolean transposeA,
      boolean transposeB,
      int dtype) {
    int flagA = transposeA ? 1 : 0;
    int flagB = transposeB ? 1 : 0;
    int status;
    try {
      status = (int) MATMUL.invokeExact(a, b, c, batch, m, n, k, flagA, flagB, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_matmul");
  }

  /// `bias` may be 0 for none.
  public static void linearForward(
      long x, long weight, long bias, long y, long rows, long in, long out, int dtype) {
    int status;
    try {
      status = (int) LINEAR_FORWARD.invokeExact(x, weight, bias, y, rows, in, out, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_linear_forward");
  }

  public static void linearBackwardData(
      long dy, long weight, long dx, long rows, long in, long out, int dtype) {
    int status;
    try {
      status = (int) LINEAR_BACKWARD_DATA.invokeExact(dy, weight, dx, rows, in, out, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_linear_backward_data");
  }

  public static void linearBackwardWeight(
      long x, long dy, long dweight, long rows, long in, long out, int dtype) {
    int status;
    try {
      status = (int) LINEAR_BACKWARD_WEIGHT.invokeExact(x, dy, dweight, rows, in, out, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_linear_backward_weight");
  }

  public static void linearBackwardBias(long dy, long dbias, long rows, long out, int dtype) {
    int status;
    try {
      status = (int) LINEAR_BACKWARD_BIAS.invokeExact(dy, dbias, rows, out, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_linear_backward_bias");
  }
}
