package io.retort.bindings.cpu;

import java.lang.invoke.MethodHandle;

/// Copies between layouts on raw addresses; `retort/layout.h` is the specification.
///
/// Sizes and strides are bytes, in [#permute] elements.
public final class LayoutLibrary {
  private static final MethodHandle COPY_ROWS = NativeLibrary.bind("rt_copy_rows", "ppllll");
  private static final MethodHandle PAD = NativeLibrary.bind("rt_pad", "pplllllll");
  private static final MethodHandle CROP = NativeLibrary.bind("rt_crop", "pplllllll");
  private static final MethodHandle PERMUTE = NativeLibrary.bind("rt_permute", "ppillllllllll");

  private LayoutLibrary() {}

  /// `rows` rows of `row` bytes from one stride to another.
  public static void copyRows(
      long from, long to, long rows, long row, long fromStride, long toStride) {
    int status;
    try {
      status = (int) COPY_ROWS.invokeExact(from, to, rows, row, fromStride, toStride);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_copy_rows");
  }

  /// Images `(n, h, row)` with zeroes around.
  public static void pad(
      long x, long out, long n, long h, long row, long top, long bottom, long left, long right) {
    int status;
    try {
      status = (int) PAD.invokeExact(x, out, n, h, row, top, bottom, left, right);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_pad");
  }

  /// The middle `(n, h, row)` of larger images.
  public static void crop(
      long x, long out, long n, long h, long row, long top, long bottom, long left, long right) {
    int status;
    try {
      status = (int) CROP.invokeExact(x, out, n, h, row, top, bottom, left, right);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_crop");
  }

  /// A dense array of extents e gathered from strides s.
  public static void permute(
      long x,
      long out,
      int elementBytes,
      long e0,
      long e1,
      long e2,
      long e3,
      long e4,
      long s0,
      long s1,
      long s2,
      long s3,
      long s4) {
    int status;
    try {
      status =
          (int) PERMUTE.invokeExact(x, out, elementBytes, e0, e1, e2, e3, e4, s0, s1, s2, s3, s4);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_permute");
  }
}
