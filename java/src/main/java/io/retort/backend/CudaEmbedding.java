package io.retort.backend;

import io.retort.op.EmbeddingKernels;
import io.retort.op.Sinusoid;
import io.retort.tensor.Tensor;

/// [EmbeddingKernels] as `cuda/embedding.cu` computes them.
///
/// An id outside the table gives a row of NaN, and the next read throws what [CudaFaults] says:
/// nothing waits for the check.
final class CudaEmbedding implements EmbeddingKernels {
  private static final int WARP = 32;

  /// Threads, and columns, of a block of the table's gradient.
  private static final int COLUMNS = 128;

  /// Blocks that fill a large device; more of them get several rows of the table each.
  private static final long BLOCKS = 1024;

  private static final long MOST_ROWS = 64;

  private final CudaContext context;
  private final CudaKernel sinusoid;
  private final CudaKernel sinusoidGradient;
  private final CudaKernel fourier;
  private final CudaKernel fourierGradient;
  private final CudaKernel lookup;
  private final CudaKernel lookupGradient;

  CudaEmbedding(CudaContext context) {
    this.context = context;
    var module = new CudaModule(context, "embedding");
    sinusoid = module.kernel("rt_sinusoid", "pplldi");
    sinusoidGradient = module.kernel("rt_sinusoid_gradient", "ppplldi");
    fourier = module.kernel("rt_fourier", "pppll");
    fourierGradient = module.kernel("rt_fourier_gradient", "ppppll");
    lookup = module.kernel("rt_lookup", "ppplllp");
    lookupGradient = module.kernel("rt_lookup_gradient", "pppllll");
  }

  @Override
  public void sinusoid(Sinusoid op, Tensor c, Tensor out) {
    sinusoid
        .begin()
        .pointer(c)
        .pointer(out)
        .i64(c.elements())
        .i64(op.half())
        .f64(step(op))
        .flag(op.sinFirst())
        .over(c.elements() * op.half(), 1);
  }

  @Override
  public void sinusoidGradient(Sinusoid op, Tensor c, Tensor gradOut, Tensor gradC) {
    sinusoidGradient
        .begin()
        .pointer(c)
        .pointer(gradOut)
        .pointer(gradC)
        .i64(c.elements())
        .i64(op.half())
        .f64(step(op))
        .flag(op.sinFirst())
        .over(c.elements() * WARP, 1);
  }

  /// Logarithm of the ratio of two neighbouring frequencies.
  private static double step(Sinusoid op) {
    return -Math.log(op.maxPositions()) / (op.half() - (op.endpoint() ? 1 : 0));
  }

  @Override
  public void fourier(Tensor c, Tensor frequencies, Tensor out) {
    fourier
        .begin()
        .pointer(c)
        .pointer(frequencies)
        .pointer(out)
        .i64(c.elements())
        .i64(frequencies.elements())
        .over(c.elements() * frequencies.elements(), 1);
  }

  @Override
  public void fourierGradient(Tensor c, Tensor frequencies, Tensor gradOut, Tensor gradC) {
    fourierGradient
        .begin()
        .pointer(c)
        .pointer(frequencies)
        .pointer(gradOut)
        .pointer(gradC)
        .i64(c.elements())
        .i64(frequencies.elements())
        .over(c.elements() * WARP, 1);
  }

  @Override
  public void lookup(Tensor table, Tensor ids, Tensor out) {
    long columns = table.shape().dim(1);
    lookup
        .begin()
        .pointer(table)
        .pointer(ids)
        .pointer(out)
        .i64(table.shape().dim(0))
        .i64(columns)
        .i64(ids.elements())
        .address(context.faults().address())
        .over(out.elements(), columns % 4 == 0 ? 4 : 1);
  }

  @Override
  public void lookupGradient(Tensor ids, Tensor gradOut, Tensor gradTable) {
    long tableRows = gradTable.shape().dim(0);
    long columns = gradTable.shape().dim(1);
    long tiles = Math.ceilDiv(columns, COLUMNS);
    long rows = Math.clamp(tableRows * tiles / BLOCKS, 1, MOST_ROWS);
    lookupGradient
        .begin()
        .pointer(ids)
        .pointer(gradOut)
        .pointer(gradTable)
        .i64(tableRows)
        .i64(columns)
        .i64(ids.elements())
        .i64(rows)
        .launch(
            Math.ceilDiv(tableRows, rows),
            tiles,
            1,
            COLUMNS,
            Math.toIntExact(rows * COLUMNS * Float.BYTES));
  }
}
