package io.retort.backend;

import io.retort.op.AttentionKernels;
import io.retort.tensor.DType;
import io.retort.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// [AttentionKernels] as `cuda/attention.cu` and `cuda/attention_gradient.cu` compute them.
///
/// There is a set of kernels for heads of up to 32, 64, 128 and 256 channels, and one that takes
/// any number in turns. A block owns some tokens of one head, queries or keys, and reads all
/// others.
final class CudaAttention implements AttentionKernels {
  private static final int THREADS = 128;

  /// Tokens of a tile that passes by.
  private static final int COLUMNS = 64;

  /// Bytes of what backward kernels keep beside a slot: logarithm and drift of each column.
  private static final int SIDE_BYTES = 2 * COLUMNS * Float.BYTES;

  private static final int DRIFT_THREADS = 256;

  /// Rows of one block: eight lanes each.
  private static final int DRIFT_ROWS = DRIFT_THREADS / 8;

  private final CudaContext context;
  private final CudaKernels drift;
  private final List<Kernels> f32;
  private final List<Kernels> bf16;

  CudaAttention(CudaContext context) {
    this.context = context;
    var modules =
        new Modules(
            new CudaModule(context, "attention"), new CudaModule(context, "attention_gradient"));
    drift = modules.gradient.typed("rt_attention_drift", "pppllll");
    f32 =
        List.of(
            Kernels.of(modules, DType.F32, Tiling.whole(32, 64), Tiling.whole(32, 64)),
            Kernels.of(modules, DType.F32, Tiling.whole(64, 64), Tiling.whole(64, 64)),
            Kernels.of(modules, DType.F32, Tiling.paged(128), Tiling.paged(128)),
            Kernels.of(modules, DType.F32, Tiling.wide(256), Tiling.wide(128)));
    bf16 =
        List.of(
            Kernels.of(modules, DType.BF16, Tiling.whole(32, 128), Tiling.whole(32, 128)),
            Kernels.of(modules, DType.BF16, Tiling.whole(64, 128), Tiling.whole(64, 128)),
            Kernels.of(modules, DType.BF16, Tiling.whole(128, 128), Tiling.whole(128, 64)),
            Kernels.of(modules, DType.BF16, Tiling.paged(256), Tiling.paged(256)),
            Kernels.of(modules, DType.BF16, Tiling.wide(256), Tiling.wide(256)));
  }

  private record Modules(CudaModule forward, CudaModule gradient) {}

  /// `Tiling` of `cuda/attention.cuh`: how a block cuts its work.
  ///
  /// @param width channels of the output of a block
  /// @param rows tokens it owns
  /// @param whole whether a step of the pipeline brings whole tiles
  /// @param resident whether the block's own tokens stay in shared memory, which bounds a head's
  ///   channels
  private record Tiling(int width, int rows, boolean whole, boolean resident) {
    private static final int PAGE_ROW_BYTES = 128;

    static Tiling whole(int width, int rows) {
      return new Tiling(width, rows, true, true);
    }

    static Tiling paged(int width) {
      return new Tiling(width, 64, false, true);
    }

    static Tiling wide(int width) {
      return new Tiling(width, 64, false, false);
    }

    /// Shared memory of a kernel that multiplies `operands` of the block's own tokens.
    int sharedBytes(DType type, int operands, int sideBytes) {
      int channelBytes = width * type.bytes();
      int rowBytes = Math.min(channelBytes, PAGE_ROW_BYTES);
      int slot = COLUMNS * rowBytes;
      if (whole) {
        slot = 2 * COLUMNS * channelBytes;
      } else if (!resident) {
        slot += rows * rowBytes;
      }
      return (resident ? operands * rows * channelBytes : 0) + (whole ? 2 : 4) * (slot + sideBytes);
    }
  }

  /// One kernel and how it is launched.
  private record Cut(CudaKernel kernel, Tiling tiling, int sharedBytes) {
    void launch(Heads of, long tokens) {
      long tiles = (tokens + tiling.rows - 1) / tiling.rows;
      long parts = tiling.resident ? 1 : (of.d + tiling.width - 1) / tiling.width;
      kernel.launch(tiles * of.heads * of.n, parts, 1, THREADS, sharedBytes);
    }
  }

  /// The kernels for heads of up to `channels` channels.
  ///
  /// @param dv the kernel of `dk` too where one kernel computes both
  private record Kernels(long channels, Cut forward, Cut dq, Cut dk, Cut dv) {
    private static final String SIZES = "llllllf";

    static Kernels of(Modules modules, DType type, Tiling forward, Tiling backward) {
      String suffix =
          (forward.resident ? Integer.toString(forward.width) : "wide")
              + (type == DType.BF16 ? "_bf16" : "_f32");
      Cut result =
          new Cut(
              modules.forward.kernel("rt_attention_" + suffix, "ppppp" + SIZES),
              forward,
              forward.sharedBytes(type, 1, 0));
      Cut dq = backward(modules.gradient, "dq_" + suffix, type, backward, 2);
      long channels = forward.resident ? forward.width : Long.MAX_VALUE;
      if (backward.whole) {
        Cut both = backward(modules.gradient, "dkv_" + suffix, type, backward, 2);
        return new Kernels(channels, result, dq, both, both);
      }
      return new Kernels(
          channels,
          result,
          dq,
          backward(modules.gradient, "dk_" + suffix, type, backward, 2),
          backward(modules.gradient, "dv_" + suffix, type, backward, 1));
    }

    private static Cut backward(
        CudaModule module, String name, DType type, Tiling tiling, int operands) {
      return new Cut(
          module.kernel("rt_attention_" + name, "pppppppp" + SIZES),
          tiling,
          tiling.sharedBytes(type, operands, SIDE_BYTES));
    }

    boolean together() {
      return dk == dv;
    }
  }

  /// Sizes, and how far apart tokens lie.
  private record Heads(long n, long heads, long tq, long tk, long d, long qRow, long kvRow) {

    static Heads of(Tensor q, Tensor k, int heads) {
      long channels = q.shape().last();
      return new Heads(
          q.shape().dim(0), heads, tokens(q), tokens(k), channels / heads, channels, channels);
    }

    static Heads packed(Tensor qkv, int heads) {
      long row = qkv.shape().last();
      long tokens = tokens(qkv);
      return new Heads(qkv.shape().dim(0), heads, tokens, tokens, row / 3 / heads, row, row);
    }

    /// Product of all axes but the first and the last.
    private static long tokens(Tensor x) {
      return x.elements() / x.shape().dim(0) / x.shape().last();
    }

    /// Queries of all heads.
    long rows() {
      return n * heads * tq;
    }

    CudaKernel sizes(CudaKernel kernel) {
      return kernel
          .i64(heads)
          .i64(tq)
          .i64(tk)
          .i64(d)
          .i64(qRow)
          .i64(kvRow)
          .f32(1 / Math.sqrt((double) d));
    }
  }

  private Kernels kernels(DType type, Heads heads) {
    List<Kernels> all = type == DType.BF16 ? bf16 : f32;
    int i = 0;
    while (heads.d > all.get(i).channels) {
      i++;
    }
    return all.get(i);
  }

  @Override
  public void attention(Tensor q, Tensor k, Tensor v, int heads, Tensor out, Tensor lse) {
    forward(q.address(), k.address(), v.address(), Heads.of(q, k, heads), out, lse);
  }

  @Override
  public void selfAttention(Tensor qkv, int heads, Tensor out, Tensor lse) {
    long block = block(qkv);
    long q = qkv.address();
    forward(q, q + block, q + 2 * block, Heads.packed(qkv, heads), out, lse);
  }

  private void forward(long q, long k, long v, Heads heads, Tensor out, Tensor lse) {
    Cut cut = kernels(out.dtype(), heads).forward;
    CudaKernel kernel = cut.kernel.begin().address(q).address(k).address(v);
    heads.sizes(kernel.pointer(out).pointer(lse));
    cut.launch(heads, heads.tq);
  }

  @Override
  public void attentionGradient(
      Tensor q,
      Tensor k,
      Tensor v,
      int heads,
      Tensor out,
      Tensor lse,
      Tensor gradOut,
      @Nullable Tensor dq,
      @Nullable Tensor dk,
      @Nullable Tensor dv) {
    new Backward(q.address(), k.address(), v.address(), Heads.of(q, k, heads), out, lse, gradOut)
        .run(address(dq), address(dk), address(dv));
  }

  @Override
  public void selfAttentionGradient(
      Tensor qkv, int heads, Tensor out, Tensor lse, Tensor gradOut, Tensor dqkv) {
    long block = block(qkv);
    long q = qkv.address();
    long dq = dqkv.address();
    new Backward(q, q + block, q + 2 * block, Heads.packed(qkv, heads), out, lse, gradOut)
        .run(dq, dq + block, dq + 2 * block);
  }

  /// What the backward kernels read.
  private final class Backward {
    private final long q;
    private final long k;
    private final long v;
    private final Heads heads;
    private final Tensor out;
    private final Tensor lse;
    private final Tensor gradOut;

    Backward(long q, long k, long v, Heads heads, Tensor out, Tensor lse, Tensor gradOut) {
      this.q = q;
      this.k = k;
      this.v = v;
      this.heads = heads;
      this.out = out;
      this.lse = lse;
      this.gradOut = gradOut;
    }

    /// Computes those gradients whose address is not 0.
    void run(long dq, long dk, long dv) {
      Kernels kernels = kernels(out.dtype(), heads);
      try (var products = context.memory().scratch(heads.rows() * Float.BYTES)) {
        drift
            .begin(out.dtype())
            .pointer(out)
            .pointer(gradOut)
            .address(products.address())
            .i64(heads.heads)
            .i64(heads.tq)
            .i64(heads.d)
            .i64(heads.rows())
            .launch((heads.rows() + DRIFT_ROWS - 1) / DRIFT_ROWS, DRIFT_THREADS);
        if (dq != 0) {
          launch(kernels.dq, products.address(), dq, 0, heads.tq);
        }
        if (kernels.together() && (dk != 0 || dv != 0)) {
          launch(kernels.dk, products.address(), dk, dv, heads.tk);
        }
        if (!kernels.together() && dk != 0) {
          launch(kernels.dk, products.address(), dk, 0, heads.tk);
        }
        if (!kernels.together() && dv != 0) {
          launch(kernels.dv, products.address(), 0, dv, heads.tk);
        }
      }
    }

    private void launch(Cut cut, long drift, long bySlopes, long byWeights, long tokens) {
      CudaKernel kernel = cut.kernel.begin().address(q).address(k).address(v).pointer(lse);
      kernel.address(drift).pointer(gradOut).address(bySlopes).address(byWeights);
      heads.sizes(kernel);
      cut.launch(heads, tokens);
    }
  }

  /// Bytes of one of the three blocks of a token.
  private static long block(Tensor qkv) {
    return qkv.shape().last() / 3 * qkv.dtype().bytes();
  }

  private static long address(@Nullable Tensor tensor) {
    return tensor == null ? 0 : tensor.address();
  }
}
