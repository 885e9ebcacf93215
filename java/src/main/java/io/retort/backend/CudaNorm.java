package io.retort.backend;

import io.retort.op.NormKernels;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// [NormKernels] as `cuda/group_norm.cu`, `cuda/group_norm_gradient.cu` and `cuda/layer_norm.cu`
/// compute them.
///
/// Everything about a launch follows from the shape, but for one question asked of the device:
/// whether a [Cut]'s panel fits its shared memory.
final class CudaNorm implements NormKernels {
  /// Channels of a block of `rt_norm_parameters`.
  private static final int PARAMETER_CHANNELS = 8;

  private static final int ROW_THREADS = 128;

  /// Channels of the longest row that one warp normalises.
  private static final int WARP_ROW = 512;

  /// Blocks of a layer norm's gradient: three on each of 128 multiprocessors.
  private static final int ROW_BLOCKS = 384;

  private final CudaContext context;
  private final CudaKernels group;
  private final CudaKernels groupMoments;
  private final CudaKernels groupApply;
  private final CudaKernels groupGradient;
  private final CudaKernels groupSums;
  private final CudaKernels groupDx;
  private final CudaKernel parameters;
  private final CudaKernels layer;
  private final CudaKernels layerGradient;

  CudaNorm(CudaContext context) {
    this.context = context;
    var groups = new CudaModule(context, "group_norm");
    group = groups.typed("rt_group_norm", "ppppppfiliiiii");
    groupMoments = groups.typed("rt_group_norm_moments", "ppiliiiii");
    groupApply = groups.typed("rt_group_norm_apply", "pppppppfiliiiii");
    var gradients = new CudaModule(context, "group_norm_gradient");
    groupGradient = gradients.typed("rt_group_norm_gradient", "pppppppppppliliiiii");
    groupSums = gradients.typed("rt_group_norm_sums", "ppppppppiliiiii");
    groupDx = gradients.typed("rt_group_norm_dx", "ppppppppiliiiii");
    parameters = gradients.kernel("rt_norm_parameters", "pppli");
    var layers = new CudaModule(context, "layer_norm");
    layer = layers.typed("rt_layer_norm", "pppppplifii");
    layerGradient = layers.typed("rt_layer_norm_gradient", "pppppppliii");
  }

  /// How blocks share the work of a group norm: each has a panel, whole groups of one sample.
  ///
  /// @param tensors how many of them a block keeps in shared memory
  /// @param pack neighbours that one access takes
  /// @param panel channels of a block
  private record Cut(
      long samples,
      long positions,
      int channels,
      int perGroup,
      int elementBytes,
      int tensors,
      int pack,
      int panel) {
    static final int MOST_THREADS = 192;

    /// Shared memory of a block of which three fit a multiprocessor of an H100.
    private static final int PANEL_BYTES = 72 << 10;

    /// A panel of less would be all overhead.
    private static final int LEAST_BYTES = 4 << 10;

    /// Neighbours of one position: two sectors where possible, one where blocks would get too large
    /// or too few.
    private static final int WIDE_BYTES = 64;

    private static final int NARROW_BYTES = 32;
    private static final int ENOUGH_BLOCKS = 128;

    /// Blocks to cut a tensor into if its panels are too large for one block.
    private static final int CHUNKED_BLOCKS = 512;

    private static final int LEAST_CHUNK_BYTES = 16 << 10;

    /// Shared memory through which chunks go.
    private static final int STAGE_BYTES = 32 << 10;

    /// What the kernels declare beside.
    private static final int STATIC_BYTES = 4 << 10;

    /// @param addresses of everything that is read or written in packs, or-ed
    static Cut of(int groups, int tensors, long addresses, Tensor x) {
      Shape shape = x.shape();
      long samples = shape.dim(0);
      long positions = shape.elements() / (samples * shape.last());
      int channels = Math.toIntExact(shape.last());
      int bytes = x.dtype().bytes();
      int perGroup = channels / groups;
      int pack = pack(perGroup, bytes, addresses);
      long groupBytes = positions * perGroup * bytes;
      long least = Math.ceilDiv(LEAST_BYTES, groupBytes);
      long wanted = Math.max(least, Math.ceilDiv(WIDE_BYTES, perGroup * bytes));
      if (wanted * groupBytes * tensors > PANEL_BYTES
          || samples * Math.ceilDiv(groups, wanted) < ENOUGH_BLOCKS) {
        wanted = Math.max(least, Math.ceilDiv(NARROW_BYTES, perGroup * bytes));
      }
      long most = Math.max(1, MOST_THREADS * pack / perGroup);
      int panel = perGroup * (int) Math.min(Math.min(wanted, most), groups);
      return new Cut(samples, positions, channels, perGroup, bytes, tensors, pack, panel);
    }

    private static int pack(int perGroup, int bytes, long addresses) {
      for (int pack = 16 / bytes; addresses % 16 == 0 && pack >= 4; pack /= 2) {
        if (perGroup % pack == 0) {
          return pack;
        }
      }
      return 1;
    }

    int panels() {
      return Math.ceilDiv(channels, panel);
    }

    /// Blocks if one has all positions of its panel.
    long blocks() {
      return samples * panels();
    }

    /// Threads of such a block: four packs each, but one at least for each pack of a position.
    int threads() {
      long packs = Math.max(positions * panel / pack / 4, panel / pack);
      return Math.clamp(Math.ceilDiv(packs, 32) * 32, 64, MOST_THREADS);
    }

    /// Shared memory of such a block: its panel of every tensor, gamma and beta.
    long panelBytes() {
      long panelBytes = Math.ceilDiv(positions * panel * elementBytes, 16L) * 16;
      return tensors * panelBytes + 2L * Float.BYTES * panel;
    }

    boolean fits(CudaDevice device) {
      long sums = tensors == 1 ? 0 : channelSumBytes(threads());
      return panelBytes() + sums + STATIC_BYTES <= device.sharedBytes();
    }

    /// Shared memory in which a block adds up two sums a channel.
    int channelSumBytes(int threads) {
      int columns = panel / pack;
      return columns <= 32 ? threads / 32 * 8 * panel : 8 * threads * pack;
    }

    /// Positions of a block if several share a panel.
    int chunk() {
      long bytes = positions * panel * elementBytes;
      long most = Math.ceilDiv(bytes, LEAST_CHUNK_BYTES);
      long chunks =
          Math.clamp(Math.ceilDiv(CHUNKED_BLOCKS, blocks()), 1, Math.min(most, positions));
      return Math.toIntExact(Math.ceilDiv(positions, chunks));
    }

    long chunks() {
      return Math.ceilDiv(positions, (long) chunk());
    }

    /// Positions that go through shared memory at once, 0 if not even one fits.
    int stageRows() {
      return Math.min(chunk(), STAGE_BYTES / (panel * elementBytes));
    }

    /// Fills in the last parameters of a kernel whose blocks have `chunk` positions.
    CudaKernel fill(CudaKernel kernel, int chunk) {
      return kernel.i64(positions).i32(channels).i32(perGroup).i32(panel).i32(chunk).i32(pack);
    }
  }

  @Override
  public void groupNorm(
      int groups,
      double eps,
      boolean silu,
      Tensor x,
      Tensor gamma,
      Tensor beta,
      Tensor y,
      Tensor mean,
      Tensor rstd) {
    long addresses = x.address() | gamma.address() | beta.address() | y.address();
    Cut cut = Cut.of(groups, 1, addresses, x);
    if (cut.fits(context.device())) {
      CudaKernel kernel =
          group
              .begin(x.dtype())
              .pointer(x)
              .pointer(gamma)
              .pointer(beta)
              .pointer(y)
              .pointer(mean)
              .pointer(rstd)
              .f32(eps)
              .flag(silu);
      cut.fill(kernel, (int) cut.positions())
          .launch(cut.blocks(), cut.threads(), (int) cut.panelBytes());
      return;
    }
    int chunk = cut.chunk();
    long blocks = cut.blocks() * cut.chunks();
    try (var moments =
        context.memory().scratch(2L * Float.BYTES * cut.samples() * groups * cut.chunks())) {
      int rows = cut.stageRows();
      int staged = rows * cut.panel() * cut.elementBytes();
      CudaKernel first =
          groupMoments.begin(x.dtype()).pointer(x).address(moments.address()).i32(rows);
      cut.fill(first, chunk).launch(blocks, Cut.MOST_THREADS, staged);
      CudaKernel second =
          groupApply
              .begin(x.dtype())
              .pointer(x)
              .pointer(gamma)
              .pointer(beta)
              .address(moments.address())
              .pointer(y)
              .pointer(mean)
              .pointer(rstd)
              .f32(eps)
              .flag(silu);
      cut.fill(second, chunk).launch(blocks, Cut.MOST_THREADS);
    }
  }

  @Override
  public void groupNormGradient(
      int groups,
      boolean silu,
      Tensor x,
      Tensor gradOut,
      Tensor gamma,
      Tensor beta,
      Tensor mean,
      Tensor rstd,
      @Nullable Tensor gradX,
      @Nullable Tensor gradGamma,
      @Nullable Tensor gradBeta) {
    long addresses =
        x.address() | gradOut.address() | gamma.address() | beta.address() | address(gradX);
    Cut cut = Cut.of(groups, 2, addresses, x);
    boolean one = cut.fits(context.device());
    long parts = cut.samples() * (one ? 1 : cut.chunks());
    boolean wanted = gradGamma != null || gradBeta != null;
    try (var partial = wanted ? partial(parts, cut.channels()) : null) {
      long address = partial == null ? 0 : partial.address();
      boolean last = one && partial != null && cut.panels() <= CudaContext.COUNTERS;
      if (one) {
        CudaKernel kernel =
            groupGradient
                .begin(x.dtype())
                .pointer(x)
                .pointer(gradOut)
                .pointer(gamma)
                .pointer(beta)
                .pointer(mean)
                .pointer(rstd)
                .pointer(gradX)
                .address(address)
                .pointer(gradGamma)
                .pointer(gradBeta)
                .address(last ? context.counters(cut.panels()) : 0)
                .i64(cut.samples())
                .flag(silu);
        int threads = cut.threads();
        cut.fill(kernel, (int) cut.positions())
            .launch(cut.blocks(), threads, (int) cut.panelBytes() + cut.channelSumBytes(threads));
      } else {
        inChunks(cut, silu, x, gradOut, gamma, beta, mean, rstd, gradX, address);
      }
      if (partial != null && !last) {
        addParameters(address, gradGamma, gradBeta, parts, cut.channels());
      }
    }
  }

  private void inChunks(
      Cut cut,
      boolean silu,
      Tensor x,
      Tensor gradOut,
      Tensor gamma,
      Tensor beta,
      Tensor mean,
      Tensor rstd,
      @Nullable Tensor gradX,
      long partial) {
    int chunk = cut.chunk();
    long blocks = cut.blocks() * cut.chunks();
    try (var sums = context.memory().scratch(2L * Float.BYTES * mean.elements() * cut.chunks())) {
      CudaKernel first =
          groupSums
              .begin(x.dtype())
              .pointer(x)
              .pointer(gradOut)
              .pointer(gamma)
              .pointer(beta)
              .pointer(mean)
              .pointer(rstd)
              .address(sums.address())
              .address(partial)
              .flag(silu);
      cut.fill(first, chunk)
          .launch(blocks, Cut.MOST_THREADS, cut.channelSumBytes(Cut.MOST_THREADS));
      if (gradX != null) {
        CudaKernel second =
            groupDx
                .begin(x.dtype())
                .pointer(x)
                .pointer(gradOut)
                .pointer(gamma)
                .pointer(beta)
                .pointer(mean)
                .pointer(rstd)
                .address(sums.address())
                .pointer(gradX)
                .flag(silu);
        cut.fill(second, chunk).launch(blocks, Cut.MOST_THREADS);
      }
    }
  }

  @Override
  public void layerNorm(
      double eps, Tensor x, Tensor gamma, Tensor beta, Tensor y, Tensor mean, Tensor rstd) {
    long rows = mean.elements();
    int channels = Math.toIntExact(x.shape().last());
    long addresses = x.address() | gamma.address() | beta.address() | y.address();
    layer
        .begin(x.dtype())
        .pointer(x)
        .pointer(gamma)
        .pointer(beta)
        .pointer(y)
        .pointer(mean)
        .pointer(rstd)
        .i64(rows)
        .i32(channels)
        .f32(eps)
        .i32(rowPack(x, channels, addresses))
        .flag(channels <= WARP_ROW)
        .launch(Math.min(rowBlocks(rows, channels), Integer.MAX_VALUE), ROW_THREADS);
  }

  @Override
  public void layerNormGradient(
      Tensor x,
      Tensor gradOut,
      Tensor gamma,
      Tensor mean,
      Tensor rstd,
      @Nullable Tensor gradX,
      @Nullable Tensor gradGamma,
      @Nullable Tensor gradBeta) {
    long rows = mean.elements();
    int channels = Math.toIntExact(x.shape().last());
    long addresses = x.address() | gradOut.address() | gamma.address() | address(gradX);
    long blocks = Math.min(rowBlocks(rows, channels), ROW_BLOCKS);
    boolean wanted = gradGamma != null || gradBeta != null;
    try (var partial = wanted ? partial(blocks, channels) : null) {
      long address = partial == null ? 0 : partial.address();
      layerGradient
          .begin(x.dtype())
          .pointer(x)
          .pointer(gradOut)
          .pointer(gamma)
          .pointer(mean)
          .pointer(rstd)
          .pointer(gradX)
          .address(address)
          .i64(rows)
          .i32(channels)
          .i32(rowPack(x, channels, addresses))
          .flag(channels <= WARP_ROW)
          .launch(blocks, ROW_THREADS);
      if (partial != null) {
        addParameters(address, gradGamma, gradBeta, blocks, channels);
      }
    }
  }

  /// Blocks of one row for each team.
  private static long rowBlocks(long rows, int channels) {
    return channels <= WARP_ROW ? Math.ceilDiv(rows, ROW_THREADS / 32) : rows;
  }

  private static int rowPack(Tensor x, int channels, long addresses) {
    int pack = 16 / x.dtype().bytes();
    return addresses % 16 == 0 && channels % pack == 0 ? pack : 1;
  }

  /// Two sums a channel from each of `parts` blocks.
  private CudaMemory.Scratch partial(long parts, int channels) {
    return context.memory().scratch(2L * Float.BYTES * parts * channels);
  }

  private void addParameters(
      long partial,
      @Nullable Tensor gradGamma,
      @Nullable Tensor gradBeta,
      long parts,
      int channels) {
    parameters
        .begin()
        .address(partial)
        .pointer(gradGamma)
        .pointer(gradBeta)
        .i64(parts)
        .i32(channels)
        .launch(Math.ceilDiv(channels, PARAMETER_CHANNELS), Cut.MOST_THREADS);
  }

  private static long address(@Nullable Tensor tensor) {
    return tensor == null ? 0 : tensor.address();
  }
}
