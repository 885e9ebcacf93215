package io.retort.backend;

import io.retort.op.UnsupportedOpException;
import io.retort.tensor.DType;
import io.retort.tensor.Shape;

/// The launches of kernels that go over images `(N, H, W, C)` by `cuda/common/lines.cuh`: one block
/// a line of pixels, more where a line is long.
final class CudaLines {
  private static final int MOST_THREADS = 256;
  private static final int MOST_PARTS = 65535;
  private static final int WARP = 32;

  private CudaLines() {}

  /// The `(height, width, channels)` of images that such a kernel can index.
  static Shape checked(String op, Shape images) {
    if (images.dim(0) * images.dim(1) > Integer.MAX_VALUE
        || images.dim(2) * images.dim(3) > Integer.MAX_VALUE) {
      throw new UnsupportedOpException(
          op, CudaBackend.NAME, "2^31 lines of images or elements of a line, got " + images);
    }
    return images;
  }

  /// Neighbouring channels in 16 bytes, 1 where they do not divide a pixel.
  static int pack(DType type, long channels) {
    int width = 16 / type.bytes();
    return channels % width == 0 ? width : 1;
  }

  /// Launches a kernel that writes these images, a thread `pack` channels of a pixel.
  static void launch(CudaKernel kernel, Shape written, int pack) {
    long packs = written.dim(2) * Math.ceilDiv(written.dim(3), pack);
    int threads = Math.clamp(Math.ceilDiv(packs, WARP) * WARP, WARP, MOST_THREADS);
    long parts = Math.min(Math.ceilDiv(packs, threads), MOST_PARTS);
    kernel.launch(written.dim(0) * written.dim(1), parts, 1, threads, 0);
  }
}
