package io.retort.bindings.cpu;

import java.lang.invoke.MethodHandle;

/// Sums over axes and their transpose on raw addresses; `retort/reduction.h` is the specification.
///
/// A `dtype` is 0 for float32 and 1 for bfloat16.
public final class ReductionLibrary {
  private static final MethodHandle SUM = NativeLibrary.bind("rt_sum", "ppdllllllii");
  private static final MethodHandle SUM_OF_PRODUCTS =
      NativeLibrary.bind("rt_sum_of_products", "pppdllllllii");
  private static final MethodHandle EXPAND = NativeLibrary.bind("rt_expand", "ppdllllllii");

  private ReductionLibrary() {}

  /// `out_k = scale sum_d x_kd`.
  public static void sum(
      long x,
      long out,
      double scale,
      long k0,
      long d0,
      long k1,
      long d1,
      long k2,
      long d2,
      int dtype,
      int outDtype) {
    int status;
    try {
      status = (int) SUM.invokeExact(x, out, scale, k0, d0, k1, d1, k2, d2, dtype, outDtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_sum");
  }

  /// `out_k = scale sum_d x_kd y_kd`.
  public static void sumOfProducts(
      long x,
      long y,
      long out,
      double scale,
      long k0,
      long d0,
      long k1,
      long d1,
      long k2,
      long d2,
      int dtype,
      int outDtype) {
    int status;
    try {
      status =
          (int)
              SUM_OF_PRODUCTS.invokeExact(
                  x, y, out, scale, k0, d0, k1, d1, k2, d2, dtype, outDtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_sum_of_products");
  }

  /// `out_kd = scale small_k`.
  public static void expand(
      long small,
      long out,
      double scale,
      long k0,
      long d0,
      long k1,
      long d1,
      long k2,
      long d2,
      int dtype,
      int outDtype) {
    int status;
    try {
      status = (int) EXPAND.invokeExact(small, out, scale, k0, d0, k1, d1, k2, d2, dtype, outDtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_expand");
  }
}
