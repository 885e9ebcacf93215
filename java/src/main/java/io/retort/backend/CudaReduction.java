package io.retort.backend;

import io.retort.op.AxisGroups;
import io.retort.op.ReductionKernels;
import io.retort.tensor.DType;
import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// [ReductionKernels] as `cuda/reduction.cu` computes them.
///
/// How a sum is cut into threads, blocks and slices depends on its shape alone, so that every
/// device adds in the same order.
final class CudaReduction implements ReductionKernels {
  private static final int THREADS = 256;

  /// Blocks that fill a large device.
  private static final long BLOCKS = 512;

  /// Accesses of a thread that are worth a slice of their own.
  private static final long ACCESSES = 8;

  /// Neighbouring columns one thread sums.
  private static final int COLUMNS = 4;

  /// Bytes of a row that neighbouring threads read: a cache line.
  private static final int LINE_BYTES = 128;

  private final CudaContext context;
  private final CudaKernels sumRows;
  private final CudaKernels sumRuns;
  private final CudaKernels productRows;
  private final CudaKernels productRuns;
  private final CudaKernels expand;

  CudaReduction(CudaContext context) {
    this.context = context;
    var module = new CudaModule(context, "reduction");
    sumRows = module.typed("rt_sum_rows", "ppidlllllliipp");
    sumRuns = module.typed("rt_sum_runs", "ppidlllllliipp");
    productRows = module.typed("rt_sum_of_products_rows", "pppidlllllliipp");
    productRuns = module.typed("rt_sum_of_products_runs", "pppidlllllliipp");
    expand = module.paired("rt_expand", "ppfllllll");
  }

  @Override
  public void sum(AxisGroups axes, Tensor x, double scale, Tensor out) {
    reduce(axes, x, null, scale, out);
  }

  @Override
  public void sumOfProducts(AxisGroups axes, Tensor x, Tensor y, double scale, Tensor out) {
    reduce(axes, x, y, scale, out);
  }

  private void reduce(AxisGroups axes, Tensor x, @Nullable Tensor y, double scale, Tensor out) {
    boolean aligned = x.address() % 16 == 0 && (y == null || y.address() % 16 == 0);
    if (axes.d2() == 1) {
      rows(axes, x, y, scale, out, aligned);
    } else {
      runs(axes, x, y, scale, out, aligned);
    }
  }

  /// Neighbouring columns stay: threads side by side take columns, the others rows.
  private void rows(
      AxisGroups axes, Tensor x, @Nullable Tensor y, double scale, Tensor out, boolean aligned) {
    long rows = axes.d0() * axes.d1();
    int pack = aligned && axes.k2() % COLUMNS == 0 ? COLUMNS : 1;
    long packs = Math.ceilDiv(axes.k2(), pack);
    int width = powerOfTwo(Math.min(packs, LINE_BYTES / (pack * x.dtype().bytes())));
    while (width < THREADS && width < packs && THREADS / width > rows) {
      width *= 2;
    }
    long blocks = axes.k0() * axes.k1() * Math.ceilDiv(packs, width);
    long slices = slices(blocks, Math.ceilDiv(rows * width, (long) THREADS));
    launch(y == null ? sumRows : productRows, axes, x, y, scale, out, pack, width, blocks, slices);
  }

  /// Neighbours are summed: some threads or a block for each element of the result.
  private void runs(
      AxisGroups axes, Tensor x, @Nullable Tensor y, double scale, Tensor out, boolean aligned) {
    boolean single = axes.dropped() == axes.d2() && axes.kept() == 1;
    int widest = 16 / x.dtype().bytes();
    int pack = aligned && (single || axes.d2() % widest == 0) ? widest : 1;
    long packs = axes.d0() * axes.d1() * (axes.d2() / pack);
    int width = packs > THREADS ? THREADS : powerOfTwo(Math.clamp(packs / 4, 1, 32));
    long blocks = Math.ceilDiv(axes.kept(), (long) THREADS / width);
    long slices = width < THREADS ? 1 : slices(blocks, packs / THREADS);
    launch(y == null ? sumRuns : productRuns, axes, x, y, scale, out, pack, width, blocks, slices);
  }

  /// Into how many parts a block's work is cut, to fill the device without parts too small.
  private static long slices(long blocks, long accesses) {
    return Math.clamp(BLOCKS / Math.max(1, blocks), 1, Math.max(1, accesses / ACCESSES));
  }

  private static int powerOfTwo(long atLeast) {
    return atLeast <= 1 ? 1 : 2 * Math.toIntExact(Long.highestOneBit(atLeast - 1));
  }

  private void launch(
      CudaKernels kernels,
      AxisGroups axes,
      Tensor x,
      @Nullable Tensor y,
      double scale,
      Tensor out,
      int pack,
      int width,
      long blocks,
      long slices) {
    if (slices == 1) {
      queue(kernels, axes, x, y, scale, out, pack, width, blocks, slices, 0, 0);
      return;
    }
    try (var partial = context.memory().scratch(slices * axes.kept() * Double.BYTES)) {
      long counters = context.counters(blocks);
      queue(
          kernels,
          axes,
          x,
          y,
          scale,
          out,
          pack,
          width,
          blocks,
          slices,
          partial.address(),
          counters);
    }
  }

  private static void queue(
      CudaKernels kernels,
      AxisGroups axes,
      Tensor x,
      @Nullable Tensor y,
      double scale,
      Tensor out,
      int pack,
      int width,
      long blocks,
      long slices,
      long partial,
      long counters) {
    CudaKernel kernel = kernels.begin(x.dtype()).pointer(x);
    if (y != null) {
      kernel.pointer(y);
    }
    kernel
        .pointer(out)
        .flag(out.dtype() == DType.BF16)
        .f64(scale)
        .i64(axes.d0())
        .i64(axes.k1())
        .i64(axes.d1())
        .i64(axes.k2())
        .i64(axes.d2())
        .i64(axes.kept())
        .i32(pack)
        .i32(width)
        .address(partial)
        .address(counters)
        .launch(blocks, slices, 1, THREADS, 0);
  }

  @Override
  public void expand(AxisGroups axes, Tensor small, double scale, Tensor out) {
    boolean wide = small.dtype() == DType.F32 && out.dtype() == DType.F32;
    expand
        .begin(small.dtype(), out.dtype())
        .pointer(small)
        .pointer(out)
        .f32(scale)
        .i64(axes.k0())
        .i64(axes.d0())
        .i64(axes.k1())
        .i64(axes.d1())
        .i64(axes.k2())
        .i64(axes.d2())
        .over(out.elements(), wide ? 4 : 8);
  }
}
