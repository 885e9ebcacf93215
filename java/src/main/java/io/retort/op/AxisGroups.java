package io.retort.op;

import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import java.util.Arrays;
import java.util.List;

/// A shape seen as alternating groups of kept and dropped axes: how every broadcast and every
/// reduction is described.
///
/// Neighbouring axes of one kind are one group, so each shape a network meets needs at most three
/// of each; unused groups come first. Element `(k0, d0, k1, d1, k2, d2)` of the large array belongs
/// to element `(k0, k1, k2)` of the small one, both row-major:
///
/// ```
///   bias (C) on (N, H, W, C)           dropped N H W, kept C       -> (1, 1, 1, NHW, C, 1)
///   (N, 1, 1, C) on (N, H, W, C)       kept N, dropped H W, kept C -> (1, 1, N, HW, C, 1)
///   sum over everything                dropped N H W C             -> (1, 1, 1, 1, 1, NHWC)
/// ```
public record AxisGroups(long k0, long d0, long k1, long d1, long k2, long d2) {

  /// How `small` is repeated to `large`: axes are matched from the last, an extent of 1 or a
  /// missing axis is repeated.
  ///
  /// @throws ShapeException if they do not match
  public static AxisGroups broadcast(String op, Shape small, Shape large) {
    int missing = large.rank() - small.rank();
    boolean matches = missing >= 0;
    boolean[] dropped = new boolean[large.rank()];
    for (int axis = 0; matches && axis < large.rank(); axis++) {
      long extent = axis < missing ? 1 : small.dim(axis - missing);
      dropped[axis] = extent == 1;
      matches = extent == 1 || extent == large.dim(axis);
    }
    if (!matches) {
      throw new ShapeException(op + ": " + small + " does not broadcast to " + large);
    }
    return of(op, large, dropped);
  }

  /// How `shape` is reduced over `axes` (negative from the end); an empty list means all of them.
  ///
  /// @throws ShapeException if an axis is not there or named twice
  public static AxisGroups reduce(String op, Shape shape, List<Integer> axes) {
    boolean[] dropped = new boolean[shape.rank()];
    for (int named : axes) {
      int axis = named < 0 ? shape.rank() + named : named;
      if (axis < 0 || axis >= shape.rank() || dropped[axis]) {
        throw new ShapeException(
            op + ": axes must be different axes of " + shape + ", got " + axes);
      }
      dropped[axis] = true;
    }
    if (axes.isEmpty()) {
      Arrays.fill(dropped, true);
    }
    return of(op, shape, dropped);
  }

  private static AxisGroups of(String op, Shape shape, boolean[] dropped) {
    long[] groups = {1, 1, 1, 1, 1, 1};
    int group = groups.length - 1;
    for (int axis = shape.rank() - 1; axis >= 0; axis--) {
      if (shape.dim(axis) == 1) {
        continue;
      }
      int kind = dropped[axis] ? 1 : 0;
      if (group % 2 != kind) {
        group--;
      }
      if (group < 0) {
        throw new ShapeException(
            op + ": more than three separate groups of axes are not supported, got " + shape);
      }
      groups[group] *= shape.dim(axis);
    }
    return new AxisGroups(groups[0], groups[1], groups[2], groups[3], groups[4], groups[5]);
  }

  /// Elements of the small array.
  public long kept() {
    return k0 * k1 * k2;
  }

  /// Elements of the large array for each of the small one.
  public long dropped() {
    return d0 * d1 * d2;
  }
}
