package io.retort.backend;

import io.retort.op.LayoutKernels;
import io.retort.op.UnsupportedOpException;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.List;

/// [LayoutKernels] as `cuda/layout.cu` computes them.
///
/// Bytes move in the largest units of 2 to 16 bytes that divide every size, stride and address.
final class CudaLayout implements LayoutKernels {
  private static final int LOOPS = 5;
  private static final int LAST = LOOPS - 1;
  private static final int THREADS = 256;
  private static final int TILE = 32;

  /// Elements of the two transposed axes from which squares in shared memory pay.
  private static final long LEAST_TRANSPOSED = 256;

  private final Moves copy;
  private final Moves pad;
  private final Moves gather;
  private final Moves transpose;
  private final Loops loops = new Loops();

  CudaLayout(CudaContext context) {
    var module = new CudaModule(context, "layout");
    copy = new Moves(module, "rt_copy", "ppllllll", 4);
    pad = new Moves(module, "rt_pad", "pplllllll", 4);
    gather = new Moves(module, "rt_gather", "ppllllllllll", 4);
    transpose = new Moves(module, "rt_transpose", "ppllllllllllll", 3);
  }

  /// One kernel for units of 2, 4, 8 and 16 bytes.
  private static final class Moves {
    private final CudaKernel[] kernels;

    Moves(CudaModule module, String name, String signature, int count) {
      kernels = new CudaKernel[count];
      for (int i = 0; i < count; i++) {
        kernels[i] = module.kernel(name + "_" + (2 << i), signature);
      }
    }

    CudaKernel begin(long unit) {
      return kernels[Long.numberOfTrailingZeros(unit) - 1].begin();
    }
  }

  @Override
  public void insert(Tensor x, int axis, long at, Tensor out) {
    long step = stepBytes(out, axis);
    long row = x.shape().dim(axis) * step;
    long rows = outer(out.shape(), axis);
    copy(x.address(), out.address() + at * step, rows, rows, row, row, 0, stride(out, axis));
  }

  @Override
  public void slice(Tensor x, int axis, long begin, Tensor out) {
    long step = stepBytes(x, axis);
    long row = out.shape().dim(axis) * step;
    long rows = outer(x.shape(), axis);
    copy(x.address() + begin * step, out.address(), rows, rows, row, stride(x, axis), 0, row);
  }

  @Override
  public void crop(Tensor x, int top, int bottom, int left, int right, Tensor out) {
    long pixel = stepBytes(x, 2);
    long line = stride(x, 2);
    long row = stride(out, 2);
    long lines = out.shape().dim(1);
    long from = x.address() + top * line + left * pixel;
    long skip = (top + (long) bottom) * line;
    copy(from, out.address(), out.shape().dim(0) * lines, lines, row, line, skip, row);
  }

  /// Rows of `row` bytes in images of `lines`; `fromSkip` bytes lie between two images of the
  /// source beside the lines that are copied.
  private void copy(
      long from,
      long to,
      long rows,
      long lines,
      long row,
      long fromLine,
      long fromSkip,
      long toLine) {
    long unit = unit(from | to | row | fromLine | fromSkip | toLine);
    copy.begin(unit)
        .address(from)
        .address(to)
        .i64(rows)
        .i64(lines)
        .i64(row / unit)
        .i64(fromLine / unit)
        .i64(fromSkip / unit)
        .i64(toLine / unit)
        .over(rows * (row / unit), 1);
  }

  @Override
  public void unslice(Tensor x, int axis, long begin, Tensor out) {
    long rows = outer(x.shape(), axis);
    long left = begin * stepBytes(x, axis);
    pad(x, out, rows, 1, stride(x, axis), 1, stride(out, axis), 0, left);
  }

  @Override
  public void pad(Tensor x, int top, int bottom, int left, int right, Tensor out) {
    Shape inner = x.shape();
    Shape outer = out.shape();
    long before = left * stepBytes(x, 2);
    pad(
        x,
        out,
        inner.dim(0),
        inner.dim(1),
        stride(x, 2),
        outer.dim(1),
        stride(out, 2),
        top,
        before);
  }

  private void pad(
      Tensor x,
      Tensor out,
      long images,
      long lines,
      long row,
      long height,
      long width,
      long top,
      long left) {
    long unit = unit(x.address() | out.address() | row | width | left);
    pad.begin(unit)
        .pointer(x)
        .pointer(out)
        .i64(images)
        .i64(lines)
        .i64(row / unit)
        .i64(height)
        .i64(width / unit)
        .i64(top)
        .i64(left / unit)
        .over(images * height * (width / unit), 1);
  }

  @Override
  public void permute(Tensor x, List<Integer> axes, Tensor out) {
    loops.set(x.shape(), axes);
    int along = loops.contiguousOuter();
    if (along != LAST && loops.extent[along] * loops.extent[LAST] >= LEAST_TRANSPOSED) {
      transpose(x, out, along);
    } else {
      gather(x, out);
    }
  }

  /// The loops of a permuted copy, outermost first: extents of the dense target and strides of the
  /// source, in elements. Axes that stay neighbours are one loop. One object serves all calls.
  private static final class Loops {
    private final long[] extent = new long[LOOPS];
    private final long[] stride = new long[LOOPS];

    void set(Shape shape, List<Integer> axes) {
      Arrays.fill(extent, 1);
      Arrays.fill(stride, 0);
      int loop = LOOPS;
      for (int i = axes.size() - 1; i >= 0; i--) {
        long elements = shape.dim(axes.get(i));
        long apart = after(shape, axes.get(i));
        if (elements == 1) {
          continue;
        }
        if (loop < LOOPS && apart == stride[loop] * extent[loop]) {
          extent[loop] *= elements;
          continue;
        }
        if (--loop < 0) {
          throw new UnsupportedOpException(
              "permute",
              CudaBackend.NAME,
              "order " + axes + " of " + shape + " needs more than " + LOOPS + " loops");
        }
        extent[loop] = elements;
        stride[loop] = apart;
      }
    }

    /// The loop along which the source runs where that is not the innermost one, else that.
    int contiguousOuter() {
      int loop = stride[LAST] == 1 ? LAST : 0;
      while (loop < LAST && (stride[loop] != 1 || extent[loop] == 1)) {
        loop++;
      }
      return loop;
    }

    /// Elements between neighbours along a loop in the target.
    long targetStride(int loop) {
      long product = 1;
      for (int inner = loop + 1; inner < LOOPS; inner++) {
        product *= extent[inner];
      }
      return product;
    }
  }

  private void gather(Tensor x, Tensor out) {
    long bytes = x.dtype().bytes();
    long sizes = x.address() | out.address() | loops.extent[LAST] * bytes;
    for (int loop = 0; loop < LAST; loop++) {
      sizes |= loops.stride[loop] * bytes;
    }
    long unit = loops.stride[LAST] == 1 ? unit(sizes) : bytes;
    long scale = unit / bytes; // elements of a unit
    long units = out.elements() / scale;
    CudaKernel kernel = gather.begin(unit).pointer(x).pointer(out).i64(units);
    for (int loop = 1; loop < LAST; loop++) {
      kernel.i64(loops.extent[loop]);
    }
    kernel.i64(loops.extent[LAST] / scale);
    for (int loop = 0; loop < LAST; loop++) {
      kernel.i64(loops.stride[loop] / scale);
    }
    kernel.i64(loops.stride[LAST]).over(units, 1);
  }

  private void transpose(Tensor x, Tensor out, int along) {
    long tall = loops.extent[along];
    long wide = loops.extent[LAST];
    int first = along == 0 ? 1 : 0;
    int second = along <= 1 ? 2 : 1;
    int third = along <= 2 ? 3 : 2;
    long squares = Math.ceilDiv(tall, TILE) * Math.ceilDiv(wide, TILE);
    transpose
        .begin(x.dtype().bytes())
        .pointer(x)
        .pointer(out)
        .i64(tall)
        .i64(wide)
        .i64(loops.stride[LAST])
        .i64(loops.targetStride(along))
        .i64(loops.extent[second])
        .i64(loops.extent[third])
        .i64(loops.stride[first])
        .i64(loops.stride[second])
        .i64(loops.stride[third])
        .i64(loops.targetStride(first))
        .i64(loops.targetStride(second))
        .i64(loops.targetStride(third))
        .launch(out.elements() / (tall * wide) * squares, THREADS);
  }

  /// The largest unit of at most 16 bytes that divides all sizes, which are or-ed together.
  private static long unit(long sizes) {
    return Math.min(16, Long.lowestOneBit(sizes | 16));
  }

  /// Bytes between neighbours along an axis.
  private static long stepBytes(Tensor tensor, int axis) {
    return after(tensor.shape(), axis) * tensor.dtype().bytes();
  }

  /// Bytes of an axis and all after it.
  private static long stride(Tensor tensor, int axis) {
    return tensor.shape().dim(axis) * stepBytes(tensor, axis);
  }

  private static long after(Shape shape, int axis) {
    return product(shape, axis + 1, shape.rank());
  }

  private static long outer(Shape shape, int axis) {
    return product(shape, 0, axis);
  }

  private static long product(Shape shape, int from, int to) {
    long product = 1;
    for (int axis = from; axis < to; axis++) {
      product *= shape.dim(axis);
    }
    return product;
  }
}
