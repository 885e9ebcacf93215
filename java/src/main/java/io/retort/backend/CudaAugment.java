package io.retort.backend;

import io.retort.op.AugmentKernels;
import io.retort.op.Augmentation;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;

/// [AugmentKernels] as `cuda/augment.cu` computes them.
///
/// Launches: colour one block an image, warp and cutout those of [CudaLines].
final class CudaAugment implements AugmentKernels {
  private static final int WARP = 32;
  private static final int MOST_THREADS = 1024;

  /// Pixels of a thread that recolours, and channels of one that warps.
  private static final int PIXELS = 4;

  private static final int CHANNELS = 4;

  private final CudaKernels color;
  private final CudaKernels warp;
  private final CudaKernels warpGradient;
  private final CudaKernels cutout;

  CudaAugment(CudaContext context) {
    var module = new CudaModule(context, "augment");
    color = module.typed("rt_augment_color", "ppllfff");
    warp = module.typed("rt_augment_warp", "pplllddddddf");
    warpGradient = module.typed("rt_augment_warp_gradient", "ppllldddddddddddd");
    cutout = module.typed("rt_augment_cutout", "ppllllllf");
  }

  @Override
  public void color(Augmentation.Color color, Tensor x, Tensor y) {
    Shape s = CudaLines.checked("augment", x.shape());
    long positions = s.dim(1) * s.dim(2);
    long warps = Math.ceilDiv(positions, PIXELS * WARP);
    this.color
        .begin(x.dtype())
        .pointer(x)
        .pointer(y)
        .i64(positions)
        .i64(s.dim(3))
        .f32(color.brightness())
        .f32(color.saturation())
        .f32(color.contrast())
        .launch(s.dim(0), Math.clamp(warps * WARP, WARP, MOST_THREADS));
  }

  @Override
  public void warp(Augmentation.Warp warp, double fill, Tensor x, Tensor y) {
    CudaKernel launch = this.warp.begin(x.dtype()).pointer(x).pointer(y);
    map(launch, warp, x.shape()).f32(fill);
    CudaLines.launch(launch, x.shape(), CHANNELS);
  }

  @Override
  public void warpGradient(Augmentation.Warp warp, Tensor gradOut, Tensor gradX) {
    Shape s = gradX.shape();
    CudaKernel launch = warpGradient.begin(gradX.dtype()).pointer(gradOut).pointer(gradX);
    Inverse inverse = Inverse.of(warp.inPixels(s.dim(1), s.dim(2)));
    map(launch, warp, s)
        .f64(inverse.i00)
        .f64(inverse.i01)
        .f64(inverse.i10)
        .f64(inverse.i11)
        .f64(inverse.columns)
        .f64(inverse.rows);
    CudaLines.launch(launch, s, CHANNELS);
  }

  /// The size of the images and the map between their pixels.
  private static CudaKernel map(CudaKernel launch, Augmentation.Warp warp, Shape images) {
    Shape s = CudaLines.checked("augment", images);
    Augmentation.Warp pixels = warp.inPixels(s.dim(1), s.dim(2));
    return launch
        .i64(s.dim(1))
        .i64(s.dim(2))
        .i64(s.dim(3))
        .f64(pixels.a00())
        .f64(pixels.a01())
        .f64(pixels.a02())
        .f64(pixels.a10())
        .f64(pixels.a11())
        .f64(pixels.a12());
  }

  /// The linear part of the way back, and how many columns and rows around a pixel's preimage the
  /// outputs lie whose sample used the pixel: everywhere, if there is no way back.
  private record Inverse(
      double i00, double i01, double i10, double i11, double columns, double rows) {
    private static final double FARTHEST = 1e6;
    private static final Inverse NONE =
        new Inverse(0, 0, 0, 0, Double.POSITIVE_INFINITY, Double.POSITIVE_INFINITY);

    static Inverse of(Augmentation.Warp map) {
      double determinant = map.a00() * map.a11() - map.a01() * map.a10();
      double i00 = map.a11() / determinant;
      double i01 = -map.a01() / determinant;
      double i10 = -map.a10() / determinant;
      double i11 = map.a00() / determinant;
      double columns = widened(Math.abs(i00) + Math.abs(i01));
      double rows = widened(Math.abs(i10) + Math.abs(i11));
      return columns < FARTHEST && rows < FARTHEST
          ? new Inverse(i00, i01, i10, i11, columns, rows)
          : NONE;
    }

    /// By more than rounding can move a preimage.
    private static double widened(double reach) {
      return reach + 1e-6 * (1 + reach);
    }
  }

  @Override
  public void cutout(Augmentation.Cutout cutout, double fill, Tensor x, Tensor y) {
    Shape s = CudaLines.checked("augment", x.shape());
    long line = s.dim(2) * s.dim(3);
    CudaKernel launch =
        this.cutout
            .begin(x.dtype())
            .pointer(x)
            .pointer(y)
            .i64(s.dim(1))
            .i64(line)
            .i64(cutout.top())
            .i64(cutout.bottom())
            .i64(cutout.left() * s.dim(3))
            .i64(cutout.right() * s.dim(3))
            .f32(fill);
    Shape lines = Shape.of(s.dim(0), s.dim(1), 1, line);
    CudaLines.launch(launch, lines, CudaLines.pack(x.dtype(), line));
  }
}
