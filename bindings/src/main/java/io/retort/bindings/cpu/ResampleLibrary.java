package io.retort.bindings.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/// FIR resampling on raw addresses; `retort/resample.h` is the specification.
///
/// Sizes are those of x; a `dtype` is 0 for float32 and 1 for bfloat16; `up` is 0 to halve and 1 to
/// double.
public final class ResampleLibrary {
  private static final MethodHandle FORWARD =
      NativeLibrary.bind("rt_resample_forward", "ppplilllli");
  private static final MethodHandle BACKWARD =
      NativeLibrary.bind("rt_resample_backward", "ppplilllli");

  private ResampleLibrary() {}

  /// `y` = `x` halved or doubled.
  public static void forward(
      long x,
      long y,
      double[] filter,
      int up,
      long n,
      long height,
      long width,
      long channels,
      int dtype) {
    int status;
    try (var arena = Arena.ofConfined()) {
      long taps = arena.allocateFrom(ValueLayout.JAVA_DOUBLE, filter).address();
      long count = filter.length;
      status = (int) FORWARD.invokeExact(x, y, taps, count, up, n, height, width, channels, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_resample_forward");
  }

  /// Gradient of [#forward].
  public static void backward(
      long dy,
      long dx,
      double[] filter,
      int up,
      long n,
      long height,
      long width,
      long channels,
      int dtype) {
    int status;
    try (var arena = Arena.ofConfined()) {
      long taps = arena.allocateFrom(ValueLayout.JAVA_DOUBLE, filter).address();
      long count = filter.length;
      status =
          (int) BACKWARD.invokeExact(dy, dx, taps, count, up, n, height, width, channels, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_resample_backward");
  }
}
