package io.retort.bindings.cpu;

import java.lang.invoke.MethodHandle;

/// Augmentation kernels on raw addresses; `retort/augment.h` is the specification.
///
/// A `dtype` is 0 for float32 and 1 for bfloat16.
public final class AugmentLibrary {
  private static final MethodHandle COLOR = NativeLibrary.bind("rt_augment_color", "ppllldddi");
  private static final MethodHandle WARP_FORWARD =
      NativeLibrary.bind("rt_augment_warp_forward", "pplllldddddddi");
  private static final MethodHandle WARP_BACKWARD =
      NativeLibrary.bind("rt_augment_warp_backward", "ppllllddddddi");
  private static final MethodHandle CUTOUT =
      NativeLibrary.bind("rt_augment_cutout", "pplllllllldi");

  private AugmentLibrary() {}

  /// Brightness, saturation and contrast; with brightness 0 it is its own gradient.
  public static void color(
      long x,
      long y,
      long n,
      long positions,
      long channels,
      double brightness,
      double saturation,
      double contrast,
      int dtype) {
    int status;
    try {
      status =
          (int)
              COLOR.invokeExact(
                  x, y, n, positions, channels, brightness, saturation, contrast, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_augment_color");
  }

  /// Bilinear samples at an affine map of the pixel coordinates.
  public static void warpForward(
      long x,
      long y,
      long n,
      long height,
      long width,
      long channels,
      double a00,
      double a01,
      double a02,
      double a10,
      double a11,
      double a12,
      double fill,
      int dtype) {
    int status;
    try {
      status =
          (int)
              WARP_FORWARD.invokeExact(
                  x, y, n, height, width, channels, a00, a01, a02, a10, a11, a12, fill, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_augment_warp_forward");
  }

  /// Gradient of [#warpForward].
  public static void warpBackward(
      long dy,
      long dx,
      long n,
      long height,
      long width,
      long channels,
      double a00,
      double a01,
      double a02,
      double a10,
      double a11,
      double a12,
      int dtype) {
    int status;
    try {
      status =
          (int)
              WARP_BACKWARD.invokeExact(
                  dy, dx, n, height, width, channels, a00, a01, a02, a10, a11, a12, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_augment_warp_backward");
  }

  /// `fill` in a rectangle; with fill 0 it is its own gradient.
  public static void cutout(
      long x,
      long y,
      long n,
      long height,
      long width,
      long channels,
      long top,
      long left,
      long bottom,
      long right,
      double fill,
      int dtype) {
    int status;
    try {
      status =
          (int)
              CUTOUT.invokeExact(
                  x, y, n, height, width, channels, top, left, bottom, right, fill, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_augment_cutout");
  }
}
