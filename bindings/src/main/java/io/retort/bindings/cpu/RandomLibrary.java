package io.retort.bindings.cpu;

import java.lang.invoke.MethodHandle;

/// Philox numbers on raw addresses; `retort/random.h` is the specification.
///
/// Seed, tag and step name the stream; `first` is the index of the first element in it.
public final class RandomLibrary {
  private static final MethodHandle NORMAL = NativeLibrary.bind("rt_random_normal", "plddlill");
  private static final MethodHandle UNIFORM = NativeLibrary.bind("rt_random_uniform", "plddlill");
  private static final MethodHandle DROPOUT = NativeLibrary.bind("rt_dropout", "ppldlilli");

  private RandomLibrary() {}

  /// Normals: `out_i = mean + deviation z_i`, float32.
  public static void normal(
      long out, long n, double mean, double deviation, long seed, int tag, long step, long first) {
    int status;
    try {
      status = (int) NORMAL.invokeExact(out, n, mean, deviation, seed, tag, step, first);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_random_normal");
  }

  /// Uniforms: `out_i = low + (high - low) u_i`, float32.
  public static void uniform(
      long out, long n, double low, double high, long seed, int tag, long step, long first) {
    int status;
    try {
      status = (int) UNIFORM.invokeExact(out, n, low, high, seed, tag, step, first);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_random_uniform");
  }

  /// `out_i = u_i < p ? 0 : x_i / (1 - p)`.
  public static void dropout(
      long x, long out, long n, double p, long seed, int tag, long step, long first, int dtype) {
    int status;
    try {
      status = (int) DROPOUT.invokeExact(x, out, n, p, seed, tag, step, first, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_dropout");
  }
}
