package io.retort.backend;

import io.retort.backend.CudaMemory.Scratch;
import io.retort.tensor.DType;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// Products of matrices on the device, as `cuda/matmul.cu` computes them: what dense layers,
/// batched products and convolutions are made of.
///
/// Where a [GemmChooser] is given, it may leave a product to NVIDIA's library. Works on addresses.
/// Kernels read 16 bytes at a time; a matrix whose rows do not begin on such a boundary, or that
/// has another type than the product, is packed into scratch first.
final class CudaGemm {
  private static final int ACCESS_BYTES = 16;
  private static final int MOST_MATRICES = 65535;

  /// How a and b are stored: n as they are multiplied, t transposed.
  private static final List<String> LAYOUTS = List.of("nn", "nt", "tn", "tt");

  private final CudaMemory memory;
  private final CudaTiling.Choice tiling;
  private final @Nullable GemmChooser chooser;
  private final Map<Extents, CudaTiling> tilings = new HashMap<>();

  /// By type, layout and tile.
  private final List<CudaKernel[]> kernels = new ArrayList<>();

  private final CudaKernel widthOnly;
  private final CudaKernel narrow;
  private final CudaKernel widthOnlyHalf;
  private final CudaKernels sumParts;

  CudaGemm(CudaContext context) {
    this(context, CudaTiling::fastest, null);
  }

  /// @param chooser who multiplies; without one it is always this
  CudaGemm(CudaContext context, CudaTiling.Choice tiling, @Nullable GemmChooser chooser) {
    memory = context.memory();
    this.tiling = tiling;
    this.chooser = chooser;
    var module = new CudaModule(context, "matmul");
    for (DType type : List.of(DType.F32, DType.BF16)) {
      for (String layout : LAYOUTS) {
        kernels.add(CudaTile.kernels(module, "rt_matmul_" + layout + "_", type, "pppppllllll"));
      }
    }
    widthOnly = module.kernel("rt_pack_rows_f32_f32", "pplll");
    narrow = module.kernel("rt_pack_rows_f32_bf16", "pplll");
    widthOnlyHalf = module.kernel("rt_pack_rows_bf16_bf16", "pplll");
    sumParts = module.typed("rt_sum_parts", "ppplll");
  }

  /// How a product of this shape is cut; asked again and again for the same shapes.
  CudaTiling tiling(DType type, long matrices, long rows, long columns, long steps) {
    var extents = new Extents(type, matrices, rows, columns, steps);
    CudaTiling cut = tilings.get(extents);
    if (cut == null) {
      cut = tiling.of(type, matrices, rows, columns, steps);
      tilings.put(extents, cut);
    }
    return cut;
  }

  private record Extents(DType type, long matrices, long rows, long columns, long steps) {}

  /// A matrix as a product reads it, row-major with `pitch` elements from row to row; owns the
  /// scratch it lies in, if any.
  record Matrix(long address, long pitch, @Nullable Scratch scratch) implements AutoCloseable {
    /// Memory of somebody else's.
    static Matrix at(long address) {
      return new Matrix(address, 0, null);
    }

    Matrix from(long bytes) {
      return bytes == 0 ? this : new Matrix(address + bytes, pitch, null);
    }

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
    Matrix packed = scratch(rows * pitch * type.bytes(), pitch);
    CudaKernel kernel = stored == type ? (type == DType.BF16 ? widthOnlyHalf : widthOnly) : narrow;
    kernel
        .begin()
        .address(address)
        .address(packed.address)
        .i64(rows)
        .i64(columns)
        .i64(pitch)
        .over(rows * pitch, ACCESS_BYTES / type.bytes());
    return packed;
  }

  /// A matrix that is yet to be written.
  Matrix scratch(long bytes, long pitch) {
    Scratch scratch = memory.scratch(bytes);
    return new Matrix(scratch.address(), pitch, scratch);
  }

  /// Scratch for float32 numbers.
  Matrix floats(long elements) {
    return scratch(Float.BYTES * elements, 0);
  }

  /// What is multiplied: `m` by `k` with `k` by `n`, `matrices` times.
  ///
  /// @param transposeA whether a is stored `(k, m)`
  /// @param transposeB whether b is stored `(n, k)`
  record Product(
      DType type, long matrices, long m, long n, long k, boolean transposeA, boolean transposeB) {

    long results() {
      return matrices * m * n;
    }

    Product of(long some) {
      return new Product(type, some, m, n, k, transposeA, transposeB);
    }

    /// Bytes from one matrix a to the next.
    long strideA(Matrix a) {
      return (transposeA ? k : m) * a.pitch * type.bytes();
    }

    long strideB(Matrix b) {
      return (transposeB ? n : k) * b.pitch * type.bytes();
    }
  }

  /// Writes `c = op(a) op(b) + bias`.
  ///
  /// @param bias address of `n` float32 numbers, or 0
  /// @param result type of c: that of the product, or float32 without a bias
  void multiply(Product product, Matrix a, Matrix b, long bias, long c, DType result) {
    long most = Math.min(product.matrices, MOST_MATRICES);
    for (long first = 0; first < product.matrices; first += most) {
      Product some = product.of(Math.min(most, product.matrices - first));
      Matrix left = a.from(first * product.strideA(a));
      Matrix right = b.from(first * product.strideB(b));
      long to = c + first * product.m * product.n * result.bytes();
      if (chooser == null) {
        multiplyItself(some, left, right, bias, to, result);
      } else {
        chooser.multiply(this, some, left, right, bias, to, result);
      }
    }
  }

  /// [#multiply] by the kernels of `cuda/matmul.cu`, for at most 65535 matrices.
  void multiplyItself(Product product, Matrix a, Matrix b, long bias, long c, DType result) {
    DType type = product.type;
    long steps = Math.ceilDiv(product.k, (long) CudaTile.depth(type));
    CudaTiling cut = tiling(type, product.matrices, product.m, product.n, steps);
    CudaTile tile = CudaTile.of(type).get(cut.tile());
    boolean summed = cut.parts() > 1;
    try (Matrix parts = summed ? floats(cut.parts() * product.results()) : Matrix.at(c)) {
      boolean floats = summed || result != type;
      kernel(product, cut)
          .begin()
          .address(a.address)
          .address(b.address)
          .address(bias)
          .address(floats ? 0 : c)
          .address(floats ? parts.address : 0)
          .i64(product.m)
          .i64(product.n)
          .i64(product.k)
          .i64(a.pitch)
          .i64(b.pitch)
          .i64(Math.ceilDiv(steps, (long) cut.parts()) * CudaTile.depth(type))
          .launch(
              tile.blocks(product.m, product.n),
              cut.parts(),
              product.matrices,
              tile.threads(),
              tile.sharedBytes());
      if (summed) {
        sum(parts.address, cut.parts(), product.results(), product.n, bias, c, result);
      }
    }
  }

  private CudaKernel kernel(Product product, CudaTiling cut) {
    int layout = (product.transposeA ? 2 : 0) + (product.transposeB ? 1 : 0);
    int first = product.type == DType.BF16 ? LAYOUTS.size() : 0;
    return kernels.get(first + layout)[cut.tile()];
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

  // --- a dense layer -----------------------------------------------------------------------------

  /// Writes `y = x weight^T + bias`; x `(rows, in)`, weight `(out, in)` float32.
  void linear(DType type, long x, long weight, long bias, long y, long rows, long in, long out) {
    try (Matrix a = pack(x, type, type, rows, in);
        Matrix b = pack(weight, DType.F32, type, out, in)) {
      multiply(new Product(type, 1, rows, out, in, false, true), a, b, bias, y, type);
    }
  }

  /// Writes `dx = dy weight`.
  void linearData(DType type, long dy, long weight, long dx, long rows, long in, long out) {
    try (Matrix a = pack(dy, type, type, rows, out);
        Matrix b = pack(weight, DType.F32, type, out, in)) {
      multiply(new Product(type, 1, rows, in, out, false, false), a, b, 0, dx, type);
    }
  }

  /// Writes `dweight = dy^T x`, float32.
  void linearWeight(DType type, long x, long dy, long dweight, long rows, long in, long out) {
    try (Matrix a = pack(dy, type, type, rows, out);
        Matrix b = pack(x, type, type, rows, in)) {
      multiply(new Product(type, 1, out, in, rows, true, false), a, b, 0, dweight, DType.F32);
    }
  }
}
