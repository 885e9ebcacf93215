package io.retort.bindings.cpu;

import java.lang.invoke.MethodHandle;

/// Embeddings on raw addresses; `retort/embedding.h` is the specification.
public final class EmbeddingLibrary {
  private static final MethodHandle SINUSOID_FORWARD =
      NativeLibrary.bind("rt_sinusoid_forward", "pplldii");
  private static final MethodHandle SINUSOID_BACKWARD =
      NativeLibrary.bind("rt_sinusoid_backward", "ppplldii");
  private static final MethodHandle FOURIER_FORWARD =
      NativeLibrary.bind("rt_fourier_forward", "pppll");
  private static final MethodHandle FOURIER_BACKWARD =
      NativeLibrary.bind("rt_fourier_backward", "ppppll");
  private static final MethodHandle LOOKUP_FORWARD =
      NativeLibrary.bind("rt_lookup_forward", "ppplll");
  private static final MethodHandle LOOKUP_BACKWARD =
      NativeLibrary.bind("rt_lookup_backward", "ppplll");

  private EmbeddingLibrary() {}

  /// Rows of sines and cosines of `c` times geometric frequencies.
  public static void sinusoidForward(
      long c, long y, long n, long half, double maxPositions, int endpoint, int sinFirst) {
    int status;
    try {
      status = (int) SINUSOID_FORWARD.invokeExact(c, y, n, half, maxPositions, endpoint, sinFirst);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_sinusoid_forward");
  }

  /// The gradient of c.
  public static void sinusoidBackward(
      long c,
      long gy,
      long gc,
      long n,
      long half,
      double maxPositions,
      int endpoint,
      int sinFirst) {
    int status;
    try {
      status =
          (int) SINUSOID_BACKWARD.invokeExact(c, gy, gc, n, half, maxPositions, endpoint, sinFirst);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_sinusoid_backward");
  }

  /// Rows of cosines and sines of `2 pi f c`.
  public static void fourierForward(long c, long frequencies, long y, long n, long half) {
    int status;
    try {
      status = (int) FOURIER_FORWARD.invokeExact(c, frequencies, y, n, half);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_fourier_forward");
  }

  /// The gradient of c.
  public static void fourierBackward(
      long c, long frequencies, long gy, long gc, long n, long half) {
    int status;
    try {
      status = (int) FOURIER_BACKWARD.invokeExact(c, frequencies, gy, gc, n, half);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_fourier_backward");
  }

  /// `y_i = table[ids_i]`; refuses ids outside the table.
  public static void lookupForward(long table, long ids, long y, long k, long d, long n) {
    int status;
    try {
      status = (int) LOOKUP_FORWARD.invokeExact(table, ids, y, k, d, n);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_lookup_forward");
  }

  /// The table's gradient: rows of gy added where their id says.
  public static void lookupBackward(long ids, long gy, long gtable, long k, long d, long n) {
    int status;
    try {
      status = (int) LOOKUP_BACKWARD.invokeExact(ids, gy, gtable, k, d, n);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_lookup_backward");
  }
}
