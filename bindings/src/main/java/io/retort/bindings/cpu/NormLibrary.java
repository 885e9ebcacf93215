package io.retort.bindings.cpu;

import java.lang.invoke.MethodHandle;

/// Normalisation kernels on raw addresses; `retort/group_norm.h` and `retort/layer_norm.h` are the
/// specification.
///
/// A `dtype` is 0 for float32 and 1 for bfloat16; a gradient whose address is 0 is not computed.
public final class NormLibrary {
  private static final MethodHandle GROUP_FORWARD =
      NativeLibrary.bind("rt_group_norm_forward", "pppppplllldii");
  private static final MethodHandle GROUP_BACKWARD =
      NativeLibrary.bind("rt_group_norm_backward", "pppppppppllllii");
  private static final MethodHandle LAYER_FORWARD =
      NativeLibrary.bind("rt_layer_norm_forward", "pppppplldi");
  private static final MethodHandle LAYER_BACKWARD =
      NativeLibrary.bind("rt_layer_norm_backward", "pppppppplli");

  private NormLibrary() {}

  /// `y = (x - mean) rstd gamma + beta`, then SiLU if `silu` is 1; also writes mean and rstd.
  public static void groupForward(
      long x,
      long gamma,
      long beta,
      long y,
      long mean,
      long rstd,
      long n,
      long positions,
      long channels,
      long groups,
      double eps,
      int silu,
      int dtype) {
    int status;
    try {
      status =
          (int)
              GROUP_FORWARD.invokeExact(
                  x, gamma, beta, y, mean, rstd, n, positions, channels, groups, eps, silu, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_group_norm_forward");
  }

  /// Gradients of [#groupForward].
  public static void groupBackward(
      long x,
      long dy,
      long gamma,
      long beta,
      long mean,
      long rstd,
      long dx,
      long dgamma,
      long dbeta,
      long n,
      long positions,
      long channels,
      long groups,
      int silu,
      int dtype) {
    int status;
    try {
      status =
          (int)
              GROUP_BACKWARD.invokeExact(
                  x, dy, gamma, beta, mean, rstd, dx, dgamma, dbeta, n, positions, channels, groups,
                  silu, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_group_norm_backward");
  }

  /// `y = (x - mean) rstd gamma + beta` over the last axis; also writes mean and rstd.
  public static void layerForward(
      long x,
      long gamma,
      long beta,
      long y,
      long mean,
      long rstd,
      long rows,
      long channels,
      double eps,
      int dtype) {
    int status;
    try {
      status =
          (int)
              LAYER_FORWARD.invokeExact(x, gamma, beta, y, mean, rstd, rows, channels, eps, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_layer_norm_forward");
  }

  /// Gradients of [#layerForward].
  public static void layerBackward(
      long x,
      long dy,
      long gamma,
      long mean,
      long rstd,
      long dx,
      long dgamma,
      long dbeta,
      long rows,
      long channels,
      int dtype) {
    int status;
    try {
      status =
          (int)
              LAYER_BACKWARD.invokeExact(
                  x, dy, gamma, mean, rstd, dx, dgamma, dbeta, rows, channels, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_layer_norm_backward");
  }
}
