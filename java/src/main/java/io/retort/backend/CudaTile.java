package io.retort.backend;

import io.retort.tensor.DType;
import java.util.List;

/// The part of a product that one block computes: `m` rows by `n` columns, 64 bytes of k a step.
///
/// The costs are estimates for an H100, not measurements: tensor cores fed by `mma.sync` at 500
/// TFLOP/s (bf16) or 100 (float32, 3xTF32), more for small tiles, which L2 holds up. Only their
/// order matters.
///
/// @param together microseconds that a step keeps a multiprocessor busy when others run beside it
/// @param alone microseconds that a step takes a block that has the multiprocessor for itself
record CudaTile(DType type, int m, int n, int threads, double together, double alone) {
  private static final List<CudaTile> BF16 =
      List.of(
          new CudaTile(DType.BF16, 128, 256, 256, 0.55, 0.60),
          new CudaTile(DType.BF16, 128, 128, 128, 0.29, 0.36),
          new CudaTile(DType.BF16, 128, 64, 128, 0.17, 0.22),
          new CudaTile(DType.BF16, 64, 64, 128, 0.11, 0.16));

  private static final List<CudaTile> F32 =
      List.of(
          new CudaTile(DType.F32, 128, 128, 256, 0.69, 0.75),
          new CudaTile(DType.F32, 64, 64, 128, 0.20, 0.26));

  /// Bytes along k of a tile.
  private static final int STEP_BYTES = 64;

  /// Tiles that wait in shared memory.
  private static final int SLOTS = 4;

  /// The tiles that there are kernels for, largest first.
  static List<CudaTile> of(DType type) {
    return type == DType.BF16 ? BF16 : F32;
  }

  /// The kernels of a product for a type, one a tile: `<name>128x256_bf16`.
  static CudaKernel[] kernels(CudaModule module, String name, DType type, String signature) {
    return of(type).stream()
        .map(tile -> module.kernel(name + tile, signature))
        .toArray(CudaKernel[]::new);
  }

  /// Elements along k of a step.
  static int depth(DType type) {
    return STEP_BYTES / type.bytes();
  }

  /// Blocks for a product of `rows` by `columns`.
  long blocks(long rows, long columns) {
    return Math.ceilDiv(rows, (long) m) * Math.ceilDiv(columns, (long) n);
  }

  int sharedBytes() {
    return SLOTS * STEP_BYTES * (m + n);
  }

  /// As kernels are named: `128x256_bf16`.
  @Override
  public String toString() {
    return m + "x" + n + (type == DType.BF16 ? "_bf16" : "_f32");
  }
}
