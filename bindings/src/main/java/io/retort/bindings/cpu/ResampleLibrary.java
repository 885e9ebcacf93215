package io.retort.bindings.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/// FIR resampling on raw addresses; `retort/resample.h` is the specification.
///
/// Sizes are those of x; a `dtype` is 0 for float32 and 1 for bfloat16; `up` is 0 to halve and 1 to
/// double.
public final class ResampleLibrary {
  private static final MethodHandle FORWARD =
      NativeLibrary.bind("rt_resample_forward", "ppplilllli");
  private static final MethodHandle BACKWARD =
      NativeLibrary.bind("rt_resample_backward", "ppplilllli");

  /// The taps of every filter met, in native memory; a process meets a handful.
  private static final Map<List<Double>, MemorySegment> TAPS = new ConcurrentHashMap<>();

  private ResampleLibrary() {}

  private static long taps(List<Double> filter) {
    MemorySegment known = TAPS.get(filter);
    return known != null
        ? known.address()
        : TAPS.computeIfAbsent(List.copyOf(filter), ResampleLibrary::copied).address();
  }

  private static MemorySegment copied(List<Double> filter) {
    double[] taps = filter.stream().mapToDouble(Double::doubleValue).toArray();
    return Arena.global().allocateFrom(ValueLayout.JAVA_DOUBLE, taps);
  }

  /// `y` = `x` halved or doubled.
  public static void forward(
      long x,
      long y,
      List<Double> filter,
      int up,
      long n,
      long height,
      long width,
      long channels,
      int dtype) {
    int status;
    long taps = taps(filter);
    long count = filter.size();
    try {
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
      List<Double> filter,
      int up,
      long n,
      long height,
      long width,
      long channels,
      int dtype) {
    int status;
    long taps = taps(filter);
    long count = filter.size();
    try {
      status =
          (int) BACKWARD.invokeExact(dy, dx, taps, count, up, n, height, width, channels, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_resample_backward");
  }
}
