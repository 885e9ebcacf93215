package io.retort.bindings.cpu;

import java.lang.invoke.MethodHandle;

/// Elementwise kernels on raw addresses; `retort/elementwise.h` is the specification.
///
/// A `dtype` is 0 for float32 and 1 for bfloat16.
public final class ElementwiseLibrary {
  private static final MethodHandle AXPBY = NativeLibrary.bind("rt_axpby", "dpdppli");
  private static final MethodHandle ACCUMULATE = NativeLibrary.bind("rt_accumulate", "ppli");
  private static final MethodHandle AFFINE = NativeLibrary.bind("rt_affine", "pddpli");
  private static final MethodHandle MULTIPLY = NativeLibrary.bind("rt_multiply", "pppli");
  private static final MethodHandle ACTIVATION_FORWARD =
      NativeLibrary.bind("rt_activation_forward", "ppidli");
  private static final MethodHandle ACTIVATION_BACKWARD =
      NativeLibrary.bind("rt_activation_backward", "pppidli");
  private static final MethodHandle CAST = NativeLibrary.bind("rt_cast", "pplii");
  private static final MethodHandle BROADCAST = NativeLibrary.bind("rt_broadcast", "pppillllllii");

  private ElementwiseLibrary() {}

  /// `out = alpha x + beta y`.
  public static void axpby(double alpha, long x, double beta, long y, long out, long n, int dtype) {
    int status;
    try {
      status = (int) AXPBY.invokeExact(alpha, x, beta, y, out, n, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_axpby");
  }

  /// `into += x`, into float32.
  public static void accumulate(long x, long into, long n, int dtype) {
    int status;
    try {
      status = (int) ACCUMULATE.invokeExact(x, into, n, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_accumulate");
  }

  /// `out = scale x + shift`.
  public static void affine(long x, double scale, double shift, long out, long n, int dtype) {
    int status;
    try {
      status = (int) AFFINE.invokeExact(x, scale, shift, out, n, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_affine");
  }

  /// `out = a b`.
  public static void multiply(long a, long b, long out, long n, int dtype) {
    int status;
    try {
      status = (int) MULTIPLY.invokeExact(a, b, out, n, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_multiply");
  }

  /// `y = f(x)`.
  public static void activationForward(
      long x, long y, int function, double slope, long n, int dtype) {
    int status;
    try {
      status = (int) ACTIVATION_FORWARD.invokeExact(x, y, function, slope, n, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_activation_forward");
  }

  /// `gx = gy f'(x)`.
  public static void activationBackward(
      long x, long gy, long gx, int function, double slope, long n, int dtype) {
    int status;
    try {
      status = (int) ACTIVATION_BACKWARD.invokeExact(x, gy, gx, function, slope, n, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_activation_backward");
  }

  /// `out = x`, rounded to another type.
  public static void cast(long x, long out, long n, int dtype, int outDtype) {
    int status;
    try {
      status = (int) CAST.invokeExact(x, out, n, dtype, outDtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_cast");
  }

  /// `out = a + b` (kind 0) or `a b` (kind 1), b repeated along every d.
  public static void broadcast(
      long a,
      long b,
      long out,
      int kind,
      long k0,
      long d0,
      long k1,
      long d1,
      long k2,
      long d2,
      int dtype,
      int bDtype) {
    int status;
    try {
      status = (int) BROADCAST.invokeExact(a, b, out, kind, k0, d0, k1, d1, k2, d2, dtype, bDtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_broadcast");
  }
}
