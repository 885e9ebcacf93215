package io.retort.backend;

import io.retort.backend.CudaGemm.Matrix;
import io.retort.backend.CudaGemm.Product;
import io.retort.op.AxisGroups;
import io.retort.op.Conv2d;
import io.retort.op.ConvolutionKernels;
import io.retort.tensor.DType;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// [ConvolutionKernels] as `cuda/conv2d.cu` computes them, in one of four ways:
///
/// - 1x1 kernels that take every pixel as it is are dense layers over the channels;
/// - a side of at most 4 channels is written out as patches, or summed from products with every
///   tap, so that the wide side is read once, by an ordinary product; so are long kernels;
/// - groups, and what is too large for the steps of a product, take a thread a result;
/// - everything else is an implicit product over (tap, channel).
///
/// A tail is one more pass over what they wrote.
final class CudaConvolution implements ConvolutionKernels {
  private static final int THREADS = 256;

  /// Channels of a thin side.
  private static final int THIN_CHANNELS = 4;

  /// Most entries of a patch, and most elements of patches for each of both sides.
  private static final double MOST_ENTRIES = 1 << 20;

  private static final double PATCHES = 4;

  /// Taps of an axis that the products keep in bits of a word.
  private static final int MOST_TAPS = 15;

  /// Most rows or columns of a tile.
  private static final long TILE = 256;

  /// Side of the pieces in which weights are transposed.
  private static final long PIECE = 32;

  /// Blocks that the direct weight gradient aims at, and pixels that are worth a part.
  private static final long DIRECT_BLOCKS = 528;

  private static final long DIRECT_PIXELS = 64;

  /// Parameters for the sizes of both tensors and of the kernel.
  private static final String SIZES = "llllllliiii";

  private final CudaGemm gemm;
  private final CudaReduction sums;
  private final CudaKernel[][] products = new CudaKernel[DType.values().length][];
  private final CudaKernel[][] weightProducts = new CudaKernel[DType.values().length][];
  private final CudaKernels packWeights;
  private final CudaKernel unpackWeights;
  private final CudaKernels thinPatches;
  private final CudaKernels thinSums;
  private final CudaKernels direct;
  private final CudaKernels directWeights;
  private final CudaKernels tail;

  CudaConvolution(CudaContext context) {
    this(context, new CudaGemm(context), new CudaReduction(context));
  }

  CudaConvolution(CudaContext context, CudaGemm gemm, CudaReduction sums) {
    this.gemm = gemm;
    this.sums = sums;
    var module = new CudaModule(context, "conv2d");
    for (DType type : List.of(DType.F32, DType.BF16)) {
      products[type.ordinal()] =
          CudaTile.kernels(module, "rt_conv2d_", type, "ppppp" + SIZES + "il");
      weightProducts[type.ordinal()] =
          CudaTile.kernels(module, "rt_conv2d_weights_", type, "ppp" + SIZES + "ll");
    }
    packWeights = module.typed("rt_conv2d_pack_weights", "pplll");
    unpackWeights = module.kernel("rt_conv2d_unpack_weights", "pplllll");
    thinPatches = module.typed("rt_conv2d_thin_patches", "pp" + SIZES + "i");
    thinSums = module.typed("rt_conv2d_thin_sums", "ppp" + SIZES + "i");
    direct = module.typed("rt_conv2d_direct", "pppp" + SIZES + "il");
    directWeights = module.typed("rt_conv2d_direct_weights", "ppp" + SIZES + "ll");
    tail = module.typed("rt_conv2d_tail", "ppfplll");
  }

  /// Images of one side.
  private record Side(long images, long h, long w, long c) {
    static Side of(Tensor images) {
      Shape shape = images.shape();
      return new Side(shape.dim(0), shape.dim(1), shape.dim(2), shape.last());
    }

    long pixels() {
      return images * h * w;
    }

    long elements() {
      return pixels() * c;
    }
  }

  /// A convolution of given shapes.
  ///
  /// @param x the side of the inputs, y that of the outputs
  private record Sizes(Conv2d conv, DType type, Side x, Side y, int kh, int kw) {
    static Sizes of(Conv2d conv, Tensor x, Tensor weight, Tensor y) {
      int kh = (int) weight.shape().dim(2);
      int kw = (int) weight.shape().dim(3);
      return new Sizes(conv, x.dtype(), Side.of(x), Side.of(y), kh, kw);
    }

    int stride() {
      return conv.stride();
    }

    long taps() {
      return (long) kh * kw;
    }

    boolean dense() {
      return taps() == 1 && stride() == 1 && conv.padding() == 0 && conv.groups() == 1;
    }

    /// Whether one side is written out as patches: it has few channels, or the kernel has more taps
    /// than a product can tell apart; and the patches are not out of proportion.
    boolean patched() {
      Side thin = thinInput() ? x : y;
      Side wide = thinInput() ? y : x;
      double entries = (double) thin.c * kh * kw;
      return conv.groups() == 1
          && (thin.c <= THIN_CHANNELS || Math.max(kh, kw) > MOST_TAPS)
          && entries <= MOST_ENTRIES
          && entries * wide.pixels() <= PATCHES * (x.elements() + y.elements());
    }

    boolean thinInput() {
      return x.c <= y.c;
    }

    /// Whether the 32-bit steps of a product would not reach across a tile and its weights.
    boolean direct() {
      long pitch = Math.max(CudaGemm.pitch(type, x.c), CudaGemm.pitch(type, y.c));
      long image = Math.max(x.h * x.w, y.h * y.w) * pitch;
      long fewest = Math.max(1, x.h / stride()) * Math.max(1, x.w / stride());
      long images = TILE / Math.min(fewest, y.h * y.w) + 2;
      long line = Math.max(x.w, y.w) * pitch;
      return conv.groups() > 1
          || Math.max(kh, kw) > MOST_TAPS
          || images * image + line * (kh + stride() + 2L * conv.padding()) > Integer.MAX_VALUE
          || TILE * taps() * pitch > Integer.MAX_VALUE;
    }

    /// The arguments that every kernel has, for images read and written with these channels.
    CudaKernel sizes(CudaKernel kernel, Side in, long channels, Side out, long outChannels) {
      return kernel
          .i64(in.images)
          .i64(in.h)
          .i64(in.w)
          .i64(channels)
          .i64(out.h)
          .i64(out.w)
          .i64(outChannels)
          .i32(kh)
          .i32(kw)
          .i32(conv.stride())
          .i32(conv.padding());
    }
  }

  @Override
  public void conv2d(
      Conv2d conv,
      Tensor x,
      Tensor weight,
      @Nullable Tensor bias,
      @Nullable Tensor shift,
      @Nullable Tensor residual,
      Tensor y) {
    sums(Sizes.of(conv, x, weight, y), x, weight, address(bias), y);
    if (!conv.tail().equals(Conv2d.Tail.NONE)) {
      long channels = y.shape().last();
      long image = y.shape().dim(1) * y.shape().dim(2) * channels;
      tail.begin(y.dtype())
          .address(address(shift))
          .address(address(residual))
          .f32((float) conv.tail().scale())
          .pointer(y)
          .i64(y.elements())
          .i64(image)
          .i64(channels)
          .over(y.elements(), 16 / y.dtype().bytes());
    }
  }

  private static long address(@Nullable Tensor tensor) {
    return tensor == null ? 0 : tensor.address();
  }

  /// The convolution without its tail.
  private void sums(Sizes sizes, Tensor x, Tensor weight, long offset, Tensor y) {
    if (sizes.dense()) {
      gemm.linear(
          sizes.type,
          x.address(),
          weight.address(),
          offset,
          y.address(),
          sizes.x.pixels(),
          sizes.x.c,
          sizes.y.c);
    } else if (sizes.patched() && sizes.thinInput()) {
      spread(sizes, x, weight, offset, y, false);
    } else if (sizes.patched()) {
      gather(sizes, x, weight, offset, y, false);
    } else if (sizes.direct()) {
      direct(sizes, x, weight, offset, y, false);
    } else {
      product(sizes, x, weight, offset, y, false);
    }
  }

  @Override
  public void conv2dDataGradient(Conv2d conv, Tensor gradOut, Tensor weight, Tensor gradX) {
    Sizes sizes = Sizes.of(conv, gradX, weight, gradOut);
    if (sizes.dense()) {
      gemm.linearData(
          sizes.type,
          gradOut.address(),
          weight.address(),
          gradX.address(),
          sizes.x.pixels(),
          sizes.x.c,
          sizes.y.c);
    } else if (sizes.patched() && sizes.thinInput()) {
      gather(sizes, gradOut, weight, 0, gradX, true);
    } else if (sizes.patched()) {
      spread(sizes, gradOut, weight, 0, gradX, true);
    } else if (sizes.direct()) {
      direct(sizes, gradOut, weight, 0, gradX, true);
    } else {
      product(sizes, gradOut, weight, 0, gradX, true);
    }
  }

  @Override
  public void conv2dWeightGradient(
      Conv2d conv, Tensor x, Tensor gradOut, Tensor gradWeight, @Nullable Tensor gradBias) {
    Sizes sizes = Sizes.of(conv, x, gradWeight, gradOut);
    if (gradBias != null) {
      sums.sum(new AxisGroups(1, 1, 1, sizes.y.pixels(), sizes.y.c, 1), gradOut, 1, gradBias);
    }
    if (sizes.dense()) {
      gemm.linearWeight(
          sizes.type,
          x.address(),
          gradOut.address(),
          gradWeight.address(),
          sizes.x.pixels(),
          sizes.x.c,
          sizes.y.c);
    } else if (sizes.patched()) {
      thinWeights(sizes, x, gradOut, gradWeight);
    } else if (sizes.direct()) {
      directWeights(sizes, x, gradOut, gradWeight);
    } else {
      productWeights(sizes, x, gradOut, gradWeight);
    }
  }

  // --- implicit products -------------------------------------------------------------------------

  /// y from x or, with `gradient`, dx from dy.
  private void product(
      Sizes sizes, Tensor in, Tensor weight, long bias, Tensor out, boolean gradient) {
    Side from = Side.of(in);
    Side to = Side.of(out);
    int stride = gradient ? sizes.stride() : 1;
    try (Matrix images = pixels(sizes, in);
        Matrix weights = weights(sizes, weight, gradient)) {
      // A pixel of dx meets every stride-th tap: it is one of stride x stride kinds of pixels.
      long slabs = Math.ceilDiv(images.pitch(), (long) CudaTile.depth(sizes.type));
      long steps = slabs * Math.ceilDiv(sizes.kh, stride) * Math.ceilDiv(sizes.kw, stride);
      CudaTiling cut = gemm.tiling(sizes.type, 1, to.pixels(), to.c, steps);
      CudaTile tile = CudaTile.of(sizes.type).get(cut.tile());
      long rows = to.images * Math.ceilDiv(to.h, stride) * Math.ceilDiv(to.w, stride);
      long kinds = Math.min(to.h, stride) * Math.min(to.w, stride);
      boolean whole = cut.parts() == 1;
      try (Matrix parts = whole ? Matrix.at(0) : gemm.floats(cut.parts() * out.elements())) {
        CudaKernel kernel =
            products[sizes.type.ordinal()][cut.tile()]
                .begin()
                .address(images.address())
                .address(weights.address())
                .address(bias)
                .pointer(out)
                .address(parts.address());
        sizes
            .sizes(kernel, from, images.pitch(), to, to.c)
            .flag(gradient)
            .i64(Math.ceilDiv(steps, (long) cut.parts()))
            .launch(
                kinds * tile.blocks(rows, to.c),
                cut.parts(),
                1,
                tile.threads(),
                tile.sharedBytes());
        if (!whole) {
          gemm.sum(
              parts.address(), cut.parts(), out.elements(), to.c, bias, out.address(), sizes.type);
        }
      }
    }
  }

  /// Images as products read them.
  private Matrix pixels(Sizes sizes, Tensor images) {
    Side side = Side.of(images);
    return gemm.pack(images.address(), sizes.type, sizes.type, side.pixels(), side.c);
  }

  /// The weights as `(Cout, taps, Cin)` or, for the gradient, `(Cin, taps, Cout)`, the last axis
  /// padded.
  private Matrix weights(Sizes sizes, Tensor weight, boolean gradient) {
    long batch = gradient ? 1 : sizes.y.c;
    long rows = gradient ? sizes.y.c : sizes.x.c;
    long columns = gradient ? sizes.x.c * sizes.taps() : sizes.taps();
    long pitch = CudaGemm.pitch(sizes.type, rows);
    Matrix packed = gemm.scratch(batch * columns * pitch * sizes.type.bytes(), pitch);
    packWeights
        .begin(sizes.type)
        .pointer(weight)
        .address(packed.address())
        .i64(rows)
        .i64(columns)
        .i64(pitch)
        .launch(batch * pieces(pitch) * pieces(columns), THREADS);
    return packed;
  }

  private static long pieces(long extent) {
    return Math.ceilDiv(extent, PIECE);
  }

  private void productWeights(Sizes sizes, Tensor x, Tensor gradOut, Tensor gradWeight) {
    try (Matrix inputs = pixels(sizes, x);
        Matrix gradients = pixels(sizes, gradOut)) {
      long columns = inputs.pitch() * sizes.taps();
      int depth = CudaTile.depth(sizes.type);
      long steps = Math.ceilDiv(sizes.y.pixels(), (long) depth);
      CudaTiling cut = gemm.tiling(sizes.type, 1, sizes.y.c, columns, steps);
      CudaTile tile = CudaTile.of(sizes.type).get(cut.tile());
      try (Matrix parts = gemm.floats(cut.parts() * sizes.y.c * columns)) {
        CudaKernel kernel =
            weightProducts[sizes.type.ordinal()][cut.tile()]
                .begin()
                .address(inputs.address())
                .address(gradients.address())
                .address(parts.address());
        sizes
            .sizes(kernel, sizes.x, inputs.pitch(), sizes.y, sizes.y.c)
            .i64(gradients.pitch())
            .i64(Math.ceilDiv(steps, (long) cut.parts()) * depth)
            .launch(
                tile.blocks(sizes.y.c, columns),
                cut.parts(),
                1,
                tile.threads(),
                tile.sharedBytes());
        unpack(sizes, parts.address(), inputs.pitch(), cut.parts(), gradWeight);
      }
    }
  }

  /// Sums parts `(Cout, taps, Cin)` of the weight gradient, rows of `pitch` channels.
  private void unpack(Sizes sizes, long parts, long pitch, long count, Tensor gradWeight) {
    unpackWeights
        .begin()
        .address(parts)
        .pointer(gradWeight)
        .i64(sizes.y.c)
        .i64(sizes.x.c)
        .i64(sizes.taps())
        .i64(pitch)
        .i64(count)
        .launch(sizes.y.c * pieces(sizes.x.c) * pieces(sizes.taps()), THREADS);
  }

  // --- thin sides --------------------------------------------------------------------------------

  /// The patches of a thin tensor at every pixel of the wide side, entries `(channel, tap)`.
  private Matrix patches(Sizes sizes, Tensor thin, Side wide, boolean gradient) {
    Side side = Side.of(thin);
    long pitch = CudaGemm.pitch(sizes.type, side.c * sizes.taps());
    Matrix patches = gemm.scratch(wide.pixels() * pitch * sizes.type.bytes(), pitch);
    CudaKernel kernel = thinPatches.begin(sizes.type).pointer(thin).address(patches.address());
    sizes
        .sizes(kernel, side, side.c, wide, pitch)
        .flag(gradient)
        .over(wide.pixels() * pitch, 16 / sizes.type.bytes());
    return patches;
  }

  /// Weights as a product over (thin channel, tap): `(wide, thin x taps)` as they are stored where
  /// the inputs are thin, `(thin x taps, wide)` where the outputs are.
  private Matrix thinMatrix(Sizes sizes, Tensor weight) {
    return sizes.thinInput()
        ? gemm.pack(weight.address(), DType.F32, sizes.type, sizes.y.c, sizes.x.c * sizes.taps())
        : weights(sizes, weight, false);
  }

  /// From the thin side to the wide one.
  private void spread(
      Sizes sizes, Tensor thin, Tensor weight, long bias, Tensor wide, boolean gradient) {
    Side to = Side.of(wide);
    long entries = Side.of(thin).c * sizes.taps();
    var product = new Product(sizes.type, 1, to.pixels(), to.c, entries, false, sizes.thinInput());
    try (Matrix patches = patches(sizes, thin, to, gradient);
        Matrix weights = thinMatrix(sizes, weight)) {
      gemm.multiply(product, patches, weights, bias, wide.address(), sizes.type);
    }
  }

  /// From the wide side to the thin one.
  private void gather(
      Sizes sizes, Tensor wide, Tensor weight, long bias, Tensor thin, boolean gradient) {
    Side from = Side.of(wide);
    Side to = Side.of(thin);
    long entries = to.c * sizes.taps();
    var product =
        new Product(sizes.type, 1, from.pixels(), entries, from.c, false, !sizes.thinInput());
    try (Matrix images = pixels(sizes, wide);
        Matrix weights = thinMatrix(sizes, weight);
        Matrix sums = gemm.floats(from.pixels() * entries)) {
      gemm.multiply(product, images, weights, 0, sums.address(), DType.F32);
      CudaKernel kernel =
          thinSums.begin(sizes.type).address(sums.address()).address(bias).pointer(thin);
      sizes.sizes(kernel, from, entries, to, to.c).flag(gradient).over(thin.elements(), 1);
    }
  }

  private void thinWeights(Sizes sizes, Tensor x, Tensor gradOut, Tensor gradWeight) {
    boolean input = sizes.thinInput();
    Tensor thin = input ? x : gradOut;
    Tensor wide = input ? gradOut : x;
    Side side = Side.of(wide);
    long entries = Side.of(thin).c * sizes.taps();
    try (Matrix patches = patches(sizes, thin, side, !input);
        Matrix images = pixels(sizes, wide)) {
      if (input) {
        var product = new Product(sizes.type, 1, side.c, entries, side.pixels(), true, false);
        gemm.multiply(product, images, patches, 0, gradWeight.address(), DType.F32);
      } else {
        var product = new Product(sizes.type, 1, entries, side.c, side.pixels(), true, false);
        try (Matrix sums = gemm.floats(entries * side.c)) {
          gemm.multiply(product, patches, images, 0, sums.address(), DType.F32);
          unpack(sizes, sums.address(), side.c, 1, gradWeight);
        }
      }
    }
  }

  // --- a thread for each result ------------------------------------------------------------------

  private void direct(
      Sizes sizes, Tensor in, Tensor weight, long bias, Tensor out, boolean gradient) {
    Side from = Side.of(in);
    Side to = Side.of(out);
    CudaKernel kernel =
        direct.begin(sizes.type).pointer(in).pointer(weight).address(bias).pointer(out);
    sizes
        .sizes(kernel, from, from.c, to, to.c)
        .flag(gradient)
        .i64(sizes.conv.groups())
        .over(out.elements(), 1);
  }

  private void directWeights(Sizes sizes, Tensor x, Tensor gradOut, Tensor gradWeight) {
    long weights = gradWeight.elements();
    long pixels = sizes.y.pixels();
    long across = Math.ceilDiv(weights, (long) THREADS);
    long wanted =
        Math.min(Math.ceilDiv(DIRECT_BLOCKS, across), Math.ceilDiv(pixels, DIRECT_PIXELS));
    long pixelsOfPart = Math.ceilDiv(pixels, wanted);
    long count = Math.ceilDiv(pixels, pixelsOfPart);
    try (Matrix parts = gemm.floats(count * weights)) {
      CudaKernel kernel =
          directWeights.begin(sizes.type).pointer(x).pointer(gradOut).address(parts.address());
      sizes
          .sizes(kernel, sizes.x, sizes.x.c, sizes.y, sizes.y.c)
          .i64(sizes.conv.groups())
          .i64(pixelsOfPart)
          .launch(across, count, 1, THREADS, 0);
      gemm.sum(parts.address(), count, weights, weights, 0, gradWeight.address(), DType.F32);
    }
  }
}
