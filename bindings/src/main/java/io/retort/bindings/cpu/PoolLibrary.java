package io.retort.bindings.cpu;

import java.lang.invoke.MethodHandle;

/// Pooling kernels on raw addresses; `retort/pool.h` is the specification.
///
/// Sizes are those of x; a `dtype` is 0 for float32 and 1 for bfloat16.
public final class PoolLibrary {
  private static final MethodHandle AVG_FORWARD =
      NativeLibrary.bind("rt_avg_pool_forward", "pplllllli");
  private static final MethodHandle AVG_BACKWARD =
      NativeLibrary.bind("rt_avg_pool_backward", "pplllllli");
  private static final MethodHandle MAX_FORWARD =
      NativeLibrary.bind("rt_max_pool_forward", "pplllllli");
  private static final MethodHandle MAX_BACKWARD =
      NativeLibrary.bind("rt_max_pool_backward", "ppplllllli");

  private PoolLibrary() {}

  /// `y` = means of the windows of `x`.
  public static void avgForward(
      long x,
      long y,
      long n,
      long height,
      long width,
      long channels,
      long kernel,
      long stride,
      int dtype) {
    int status;
    try {
      status =
          (int) AVG_FORWARD.invokeExact(x, y, n, height, width, channels, kernel, stride, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_avg_pool_forward");
  }

  /// Gradient of [#avgForward].
  public static void avgBackward(
      long dy,
      long dx,
      long n,
      long height,
      long width,
      long channels,
      long kernel,
      long stride,
      int dtype) {
    int status;
    try {
      status =
          (int) AVG_BACKWARD.invokeExact(dy, dx, n, height, width, channels, kernel, stride, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_avg_pool_backward");
  }

  /// `y` = maxima of the windows of `x`.
  public static void maxForward(
      long x,
      long y,
      long n,
      long height,
      long width,
      long channels,
      long kernel,
      long stride,
      int dtype) {
    int status;
    try {
      status =
          (int) MAX_FORWARD.invokeExact(x, y, n, height, width, channels, kernel, stride, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_max_pool_forward");
  }

  /// Gradient of [#maxForward].
  public static void maxBackward(
      long x,
      long dy,
      long dx,
      long n,
      long height,
      long width,
      long channels,
      long kernel,
      long stride,
      int dtype) {
    int status;
    try {
      status =
          (int)
              MAX_BACKWARD.invokeExact(
                  x, dy, dx, n, height, width, channels, kernel, stride, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_max_pool_backward");
  }
}
