package io.retort.backend;

import io.retort.backend.CudaMemory.Scratch;
import io.retort.tensor.DType;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// Products of matrices on the device, as `cuda/matmul.cu` computes them: what dense layers,
/// batched products and convolutions are made of.
///
/// Works on addresses. Kernels read 16 bytes at a time; a matrix whose rows do not begin on such a
/// boundary, or that has another type than the product, is packed into scratch first.
final class CudaGemm {
  private static final int ACCESS_BYTES = 16;
  private static final int THREADS = 256;
  private static final int MOST_MATRICES = 65535;

  /// Blocks that a sum of columns is cut into, and rows that are worth a block.
  private static final long SUM_BLOCKS = 264;

  private static final long SUM_ROWS = 64;

  /// Lanes side by side in a sum of columns.
  private static final int LANES = 32;

  private final CudaMemory memory;
  private final CudaTiling.Choice tiling;
  private final CudaKernel[][] bf16;
  private final CudaKernel[][] f32;
  private final CudaKernel widthOnly;
  private final CudaKernel narrow;
  private final CudaKernel widthOnlyHalf;
  private final CudaKernels sumParts;
  private final CudaKernels columnSums;
  private final CudaKernels oddColumnSums;

  CudaGemm(CudaContext context) {
    this(context, CudaTiling::fastest);
  }

  CudaGemm(CudaContext context, CudaTiling.Choice tiling) {
    memory = context.memory();
    this.tiling = tiling;
    var module = new CudaModule(context, "matmul");
    bf16 = kernels(module, DType.BF16);
    f32 = kernels(module, DType.F32);
    widthOnly = module.kernel("rt_pack_rows_f32_f32", "pplll");
    narrow = module.kernel("rt_pack_rows_f32_bf16", "pplll");
    widthOnlyHalf = module.kernel("rt_pack_rows_bf16_bf16", "pplll");
    sumParts = module.typed("rt_sum_parts", "ppplll");
    columnSums = module.typed("rt_column_sums", "pplll");
    oddColumnSums = module.typed("rt_column_sums_odd", "pplll");
  }

  /// By layout (nn, nt, tn, tt) and tile.
  private static CudaKernel[][] kernels(CudaModule module, DType type) {
    List<String> layouts = List.of("nn", "nt", "tn", "tt");
    List<CudaTile> tiles = CudaTile.of(type);
    var kernels = new CudaKernel[layouts.size()][tiles.size()];
    for (int layout = 0; layout < kernels.length; layout++) {
      for (int tile = 0; tile < tiles.size(); tile++) {
        String name = "rt_matmul_%s_%s".formatted(layouts.get(layout), tiles.get(tile));
        kernels[layout][tile] = module.kernel(name, "pppppllllll");
      }
    }
    return kernels;
  }

  /// How a product of this shape is cut.
  CudaTiling tiling(DType type, long matrices, long rows, long columns, long steps) {
    return tiling.of(type, matrices, rows, columns, steps);
  }

  /// A matrix as a product reads it, row-major with `pitch` elements from row to row; owns the
  /// scratch it lies in, if any.
  record Matrix(long address, long pitch, @Nullable Scratch scratch) implements AutoCloseable {
    @Override
    public void close() {
      if (scratch != null) {
        scratch.close();
      }
    }
  }

  /// `columns` rounded up to whole accesses.
  static long pitch(DType type, long columns) {
    long width = ACCESS_BYTES / type.bytes();
    return Math.ceilDiv(columns, width) * width;
  }

  /// A stored matrix for a product of type `type`: itself where that can be read.
  Matrix pack(long address, DType stored, DType type, long rows, long columns) {
    long pitch = pitch(type, columns);
    if (stored == type && pitch == columns && address % ACCESS_BYTES == 0) {
      return new Matrix(address, columns, null);
    }
    Scratch scratch = memory.scratch(rows * pitch * type.bytes());
    CudaKernel kernel = stored == type ? (type == DType.BF16 ? widthOnlyHalf : widthOnly) : narrow;
    kernel
        .begin()
        .address(address)
        .address(scratch.address())
        .i64(rows)
        .i64(columns)
        .i64(pitch)
        .over(rows * pitch, ACCESS_BYTES / type.bytes());
    return new Matrix(scratch.address(), pitch, scratch);
  }

  /// What is multiplied: `m` by `k` with `k` by `n`, `matrices` times.
  record Shape(long matrices, long m, long n, long k) {
    long results() {
      return matrices * m * n;
    }
  }

  /// Writes `c = op(a) op(b) + bias`.
  ///
  /// @param transposeA whether a is stored `(k, m)`, transposeB whether b is stored `(n, k)`
  /// @param bias address of `n` float32 numbers, or 0
  /// @param result type of c: that of the product, or float32 without a bias
  void multiply(
      DType type,
      Shape shape,
      Matrix a,
      boolean transposeA,
      Matrix b,
      boolean transposeB,
      long bias,
      long c,
      DType result) {
    long matrices = Math.min(shape.matrices, MOST_MATRICES);
    for (long first = 0; first < shape.matrices; first += matrices) {
      long count = Math.min(matrices, shape.matrices - first);
      Shape launch = new Shape(count, shape.m, shape.n, shape.k);
      long strideA = (transposeA ? shape.k : shape.m) * a.pitch * type.bytes();
      long strideB = (transposeB ? shape.n : shape.k) * b.pitch * type.bytes();
      launch(
          type,
          launch,
          a.address + first * strideA,
          a.pitch,
          b.address + first * strideB,
          b.pitch,
          (transposeA ? 2 : 0) + (transposeB ? 1 : 0),
          bias,
          c + first * shape.m * shape.n * result.bytes(),
          result);
    }
  }

  private void launch(
      DType type,
      Shape shape,
      long a,
      long pitchA,
      long b,
      long pitchB,
      int layout,
      long bias,
      long c,
      DType result) {
    long steps = Math.ceilDiv(shape.k, (long) CudaTile.depth(type));
    CudaTiling cut = tiling(type, shape.matrices, shape.m, shape.n, steps);
    CudaTile tile = CudaTile.of(type).get(cut.tile());
    long depth = Math.ceilDiv(steps, (long) cut.parts()) * CudaTile.depth(type);
    boolean direct = cut.parts() == 1;
    try (Matrix parts = direct ? none(c) : parts(cut.parts() * shape.results())) {
      boolean plain = direct && result == type;
      (type == DType.BF16 ? bf16 : f32)
          [layout][cut.tile()].begin()
          .address(a)
          .address(b)
          .address(bias)
          .address(plain ? c : 0)
          .address(plain ? 0 : parts.address)
          .i64(shape.m)
          .i64(shape.n)
          .i64(shape.k)
          .i64(pitchA)
          .i64(pitchB)
          .i64(depth)
          .launch(
              tile.blocks(shape.m, shape.n),
              cut.parts(),
              shape.matrices,
              tile.threads(),
              tile.sharedBytes());
      if (!direct) {
        sum(parts.address, cut.parts(), shape.results(), shape.n, bias, c, result);
      }
    }
  }

  private static Matrix none(long address) {
    return new Matrix(address, 0, null);
  }

  /// Scratch for float32 numbers.
  Matrix parts(long elements) {
    Scratch scratch = memory.scratch(Float.BYTES * elements);
    return new Matrix(scratch.address(), 0, scratch);
  }

  /// Writes the sum of `count` arrays of float32 that follow each other, plus the bias of each
  /// column.
  void sum(long parts, long count, long elements, long columns, long bias, long out, DType result) {
    sumParts
        .begin(result)
        .address(parts)
        .address(bias)
        .address(out)
        .i64(elements)
        .i64(columns)
        .i64(count)
        .over(elements, 4);
  }

  /// Writes the sums over the rows of x, float32.
  void sumColumns(long x, DType type, long rows, long columns, long out) {
    int width = ACCESS_BYTES / type.bytes();
    boolean odd = columns % width != 0 || x % ACCESS_BYTES != 0;
    long across = Math.ceilDiv(columns, (long) LANES * (odd ? 1 : width));
    long wanted = Math.min(Math.ceilDiv(SUM_BLOCKS, across), Math.ceilDiv(rows, SUM_ROWS));
    long rowsOfPart = Math.ceilDiv(rows, wanted);
    long parts = Math.ceilDiv(rows, rowsOfPart);
    try (Matrix sums = parts == 1 ? none(out) : parts(parts * columns)) {
      (odd ? oddColumnSums : columnSums)
          .begin(type)
          .address(x)
          .address(sums.address)
          .i64(rows)
          .i64(columns)
          .i64(rowsOfPart)
          .launch(across, parts, 1, THREADS, 0);
      if (parts > 1) {
        sum(sums.address, parts, columns, columns, 0, out, DType.F32);
      }
    }
  }

  // --- a dense layer -----------------------------------------------------------------------------

  /// Writes `y = x weight^T + bias`; x `(rows, in)`, weight `(out, in)` float32.
  void linear(DType type, long x, long weight, long bias, long y, long rows, long in, long out) {
    try (Matrix a = pack(x, type, type, rows, in);
        Matrix b = pack(weight, DType.F32, type, out, in)) {
      multiply(type, new Shape(1, rows, out, in), a, false, b, true, bias, y, type);
    }
  }

  /// Writes `dx = dy weight`.
  void linearData(DType type, long dy, long weight, long dx, long rows, long in, long out) {
    try (Matrix a = pack(dy, type, type, rows, out);
        Matrix b = pack(weight, DType.F32, type, out, in)) {
      multiply(type, new Shape(1, rows, in, out), a, false, b, false, 0, dx, type);
    }
  }

  /// Writes `dweight = dy^T x`, float32.
  void linearWeight(DType type, long x, long dy, long dweight, long rows, long in, long out) {
    try (Matrix a = pack(dy, type, type, rows, out);
        Matrix b = pack(x, type, type, rows, in)) {
      multiply(type, new Shape(1, out, in, rows), a, true, b, false, 0, dweight, DType.F32);
    }
  }
}
