package io.retort.backend;

import io.retort.bindings.cpu.LayoutLibrary;
import io.retort.op.LayoutKernels;
import io.retort.op.UnsupportedOpException;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.List;

/// [LayoutKernels] on the CPU library.
final class CpuLayout implements LayoutKernels {
  private static final int LOOPS = 5;

  @Override
  public void insert(Tensor x, int axis, long at, Tensor out) {
    long step = stepBytes(out, axis);
    long row = x.shape().dim(axis) * step;
    LayoutLibrary.copyRows(
        x.address(),
        out.target() + at * step,
        outer(out.shape(), axis),
        row,
        row,
        out.shape().dim(axis) * step);
  }

  @Override
  public void slice(Tensor x, int axis, long begin, Tensor out) {
    long step = stepBytes(x, axis);
    long row = out.shape().dim(axis) * step;
    LayoutLibrary.copyRows(
        x.address() + begin * step,
        out.target(),
        outer(x.shape(), axis),
        row,
        x.shape().dim(axis) * step,
        row);
  }

  @Override
  public void unslice(Tensor x, int axis, long begin, Tensor out) {
    long step = stepBytes(x, axis);
    long extent = x.shape().dim(axis);
    LayoutLibrary.pad(
        x.address(),
        out.target(),
        outer(x.shape(), axis),
        1,
        extent * step,
        0,
        0,
        begin * step,
        (out.shape().dim(axis) - begin - extent) * step);
  }

  @Override
  public void pad(Tensor x, int top, int bottom, int left, int right, Tensor out) {
    long pixel = stepBytes(x, 2);
    Shape inner = x.shape();
    LayoutLibrary.pad(
        x.address(),
        out.target(),
        inner.dim(0),
        inner.dim(1),
        inner.dim(2) * pixel,
        top,
        bottom,
        left * pixel,
        right * pixel);
  }

  @Override
  public void crop(Tensor x, int top, int bottom, int left, int right, Tensor out) {
    long pixel = stepBytes(x, 2);
    Shape inner = out.shape();
    LayoutLibrary.crop(
        x.address(),
        out.target(),
        inner.dim(0),
        inner.dim(1),
        inner.dim(2) * pixel,
        top,
        bottom,
        left * pixel,
        right * pixel);
  }

  @Override
  public void permute(Tensor x, List<Integer> axes, Tensor out) {
    long[] e = new long[LOOPS];
    long[] s = new long[LOOPS];
    Arrays.fill(e, 1);
    int loop = LOOPS;
    for (int i = axes.size() - 1; i >= 0; i--) {
      long extent = x.shape().dim(axes.get(i));
      long stride = after(x.shape(), axes.get(i));
      if (extent == 1) {
        continue;
      }
      boolean continues = loop < LOOPS && stride == s[loop] * e[loop];
      if (continues) {
        e[loop] *= extent;
        continue;
      }
      if (--loop < 0) {
        throw new UnsupportedOpException(
            "permute", "cpu", "order " + axes + " of " + x.shape() + " needs more than 5 loops");
      }
      e[loop] = extent;
      s[loop] = stride;
    }
    LayoutLibrary.permute(
        x.address(),
        out.target(),
        x.dtype().bytes(),
        e[0],
        e[1],
        e[2],
        e[3],
        e[4],
        s[0],
        s[1],
        s[2],
        s[3],
        s[4]);
  }

  /// Bytes between neighbours along an axis.
  private static long stepBytes(Tensor tensor, int axis) {
    return after(tensor.shape(), axis) * tensor.dtype().bytes();
  }

  private static long after(Shape shape, int axis) {
    long product = 1;
    for (int i = axis + 1; i < shape.rank(); i++) {
      product *= shape.dim(i);
    }
    return product;
  }

  private static long outer(Shape shape, int axis) {
    long product = 1;
    for (int i = 0; i < axis; i++) {
      product *= shape.dim(i);
    }
    return product;
  }
}
