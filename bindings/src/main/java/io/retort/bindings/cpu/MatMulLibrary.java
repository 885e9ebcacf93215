package io.retort.bindings.cpu;

import java.lang.invoke.MethodHandle;

/// The operations of `retort/matmul.h`; addresses are raw, the header says what they hold.
public final class MatMulLibrary {
  private static final MethodHandle MATMUL = NativeLibrary.bind("rt_matmul", "ppplllliii");
  private static final MethodHandle LINEAR_FORWARD =
      NativeLibrary.bind("rt_linear_forward", "pppppllli");
  private static final MethodHandle LINEAR_LAYOUT = NativeLibrary.bind("rt_linear_layout", "lllip");
  private static final MethodHandle LINEAR_PACK = NativeLibrary.bind("rt_linear_pack", "pplllli");
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

  /// How a dense layer of these extents has its weight laid out.
  public static PackedLayout linearLayout(long rows, long in, long out, int dtype) {
    return PackedLayout.of(
        "rt_linear_layout",
        layout -> (int) LINEAR_LAYOUT.invokeExact(rows, in, out, dtype, layout));
  }

  /// Lays a weight out in the block at `packed`, for calls whose layout is `layout`.
  public static void linearPack(
      long weight, long packed, PackedLayout layout, long rows, long in, long out, int dtype) {
    long number = layout.number();
    int status;
    try {
      status = (int) LINEAR_PACK.invokeExact(weight, packed, number, rows, in, out, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_linear_pack");
  }

  /// `packed` and `bias` may be 0 for none.
  public static void linearForward(
      long x,
      long weight,
      long packed,
      long bias,
      long y,
      long rows,
      long in,
      long out,
      int dtype) {
    int status;
    try {
      status = (int) LINEAR_FORWARD.invokeExact(x, weight, packed, bias, y, rows, in, out, dtype);
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
