package io.retort.bindings.cpu;

import java.lang.invoke.MethodHandle;

/// The operations of `retort/conv2d.h`; addresses are raw, the header says what they hold.
public final class Conv2dLibrary {
  private static final MethodHandle FORWARD =
      NativeLibrary.bind("rt_conv2d_forward", "ppppppdplllllllllli");
  private static final MethodHandle BACKWARD_DATA =
      NativeLibrary.bind("rt_conv2d_backward_data", "pppplllllllllli");
  private static final MethodHandle BACKWARD_WEIGHTS =
      NativeLibrary.bind("rt_conv2d_backward_weights", "pppplllllllllli");

  private static final MethodHandle LAYOUT =
      NativeLibrary.bind("rt_conv2d_layout", "lllllllllliip");
  private static final MethodHandle PACK = NativeLibrary.bind("rt_conv2d_pack", "pplllllllllllii");

  private Conv2dLibrary() {}

  /// What reads a weight: ordinals are the header's numbers.
  public enum Pass {
    FORWARD,
    DATA
  }

  /// Extents of one convolution, as the header names them.
  public record Geometry(
      long n,
      long h,
      long w,
      long cIn,
      long cOut,
      long kh,
      long kw,
      long stride,
      long padding,
      long groups,
      int dtype) {}

  /// How a call of this geometry lays out its weights.
  public static PackedLayout layout(Geometry g, Pass pass) {
    return PackedLayout.of(
        "rt_conv2d_layout",
        layout ->
            (int)
                LAYOUT.invokeExact(
                    g.n,
                    g.h,
                    g.w,
                    g.cIn,
                    g.cOut,
                    g.kh,
                    g.kw,
                    g.stride,
                    g.padding,
                    g.groups,
                    g.dtype,
                    pass.ordinal(),
                    layout));
  }

  /// Lays weights out in the block at `packed`, for calls whose layout is `layout`.
  public static void pack(long weight, long packed, PackedLayout layout, Geometry g, Pass pass) {
    long number = layout.number();
    int which = pass.ordinal();
    int status;
    try {
      status =
          (int)
              PACK.invokeExact(
                  weight, packed, number, g.n, g.h, g.w, g.cIn, g.cOut, g.kh, g.kw, g.stride,
                  g.padding, g.groups, g.dtype, which);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_conv2d_pack");
  }

  /// `packed`, `bias`, `shift` and `residual` may be 0 for none.
  public static void forward(
      long x,
      long weight,
      long packed,
      long bias,
      long shift,
      long residual,
      double scale,
      long y,
      Geometry g) {
    int status;
    try {
      status =
          (int)
              FORWARD.invokeExact(
                  x, weight, packed, bias, shift, residual, scale, y, g.n, g.h, g.w, g.cIn, g.cOut,
                  g.kh, g.kw, g.stride, g.padding, g.groups, g.dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_conv2d_forward");
  }

  /// `packed` may be 0 for none.
  public static void backwardData(long dy, long weight, long packed, long dx, Geometry g) {
    int status;
    try {
      status =
          (int)
              BACKWARD_DATA.invokeExact(
                  dy, weight, packed, dx, g.n, g.h, g.w, g.cIn, g.cOut, g.kh, g.kw, g.stride,
                  g.padding, g.groups, g.dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_conv2d_backward_data");
  }

  /// `dbias` may be 0 if it is not wanted.
  public static void backwardWeights(long x, long dy, long dweight, long dbias, Geometry g) {
    int status;
    try {
      status =
          (int)
              BACKWARD_WEIGHTS.invokeExact(
                  x, dy, dweight, dbias, g.n, g.h, g.w, g.cIn, g.cOut, g.kh, g.kw, g.stride,
                  g.padding, g.groups, g.dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_conv2d_backward_weights");
  }
}
