package io.retort.backend;

import io.retort.op.ScoreDifference;
import io.retort.op.ScoreKernels;
import io.retort.op.UnsupportedOpException;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// [ScoreKernels] as `cuda/score_difference.cu` computes them.
///
/// Launches follow from the shape alone: samples up to 16384 elements are a block each, larger ones
/// are cut into chunks.
final class CudaScore implements ScoreKernels {
  private static final int THREADS = 256;
  private static final int MOST_THREADS = 1024;

  /// Elements that a thread of a whole sample can keep.
  private static final int HELD = 16;

  /// Blocks of a loss that no sample's sum enters: four on each of 128 multiprocessors.
  private static final int LOSS_BLOCKS = 512;

  /// Numbers of a random stream.
  private static final long STREAM = 1L << 34;

  private static final int CHUNK = 4096;
  private static final int MOST_CHUNKS = 256;

  private final CudaContext context;
  private final CudaKernel addNoise;
  private final CudaKernel edmInput;
  private final CudaKernel edmOutput;
  private final CudaKernel edmOutputBackward;
  private final CudaKernel weightedSquares;
  private final CudaKernel difference;
  private final CudaKernel sid;
  private final CudaKernel sums;
  private final CudaKernel differenceInChunks;
  private final CudaKernel sidInChunks;

  CudaScore(CudaContext context) {
    this.context = context;
    var module = new CudaModule(context, "score_difference");
    addNoise = module.kernel("rt_add_noise", "pppllkp");
    edmInput = module.kernel("rt_edm_input", "pppflli");
    edmOutput = module.kernel("rt_edm_output", "ppppflli");
    edmOutputBackward = module.kernel("rt_edm_output_backward", "ppppflli");
    weightedSquares = module.kernel("rt_weighted_squares", "ppppffppplli");
    difference = module.kernel("rt_score_difference", "pppllffifpppp");
    sid = module.kernel("rt_sid", "pppllffifpppfppp");
    sums = module.kernel("rt_score_sums", "pppllffiplif");
    differenceInChunks = module.kernel("rt_score_gradient", "pppllffifpppplp");
    sidInChunks = module.kernel("rt_sid_gradient", "pppllffifpppplfppp");
  }

  @Override
  public void addNoise(Tensor x, Tensor sigma, PhiloxKey key, Tensor out) {
    if (x.elements() > STREAM) {
      throw new UnsupportedOpException(
          "add_noise", CudaBackend.NAME, "a random stream has 2^34 numbers, x " + x.shape());
    }
    addNoise
        .begin()
        .pointer(x)
        .pointer(sigma)
        .pointer(out)
        .i64(samples(x))
        .i64(pixels(x))
        .philox(key)
        .over(x.elements(), 4);
  }

  @Override
  public void edmInput(Tensor x, Tensor sigma, double sigmaData, Tensor out) {
    int pack = pack(x, x.address() | out.address());
    edmInput
        .begin()
        .pointer(x)
        .pointer(sigma)
        .pointer(out)
        .f32(sigmaData)
        .i64(samples(x))
        .i64(pixels(x))
        .i32(pack)
        .over(x.elements(), pack);
  }

  @Override
  public void edmOutput(Tensor x, Tensor f, Tensor sigma, double sigmaData, Tensor out) {
    int pack = pack(x, x.address() | f.address() | out.address());
    edmOutput
        .begin()
        .pointer(x)
        .pointer(f)
        .pointer(sigma)
        .pointer(out)
        .f32(sigmaData)
        .i64(samples(x))
        .i64(pixels(x))
        .i32(pack)
        .over(x.elements(), pack);
  }

  @Override
  public void edmOutputBackward(
      Tensor dout, Tensor sigma, double sigmaData, @Nullable Tensor dx, @Nullable Tensor df) {
    int pack = pack(dout, dout.address() | address(dx) | address(df));
    edmOutputBackward
        .begin()
        .pointer(dout)
        .pointer(sigma)
        .pointer(dx)
        .pointer(df)
        .f32(sigmaData)
        .i64(samples(dout))
        .i64(pixels(dout))
        .i32(pack)
        .over(dout.elements(), pack);
  }

  @Override
  public void edmLoss(
      Tensor d,
      Tensor y,
      Tensor sigma,
      double sigmaData,
      boolean mean,
      Tensor loss,
      Tensor gradient) {
    double divisor = mean ? d.elements() : samples(d);
    weightedSquares(d, y, sigma, 1 / (sigmaData * sigmaData), 1 / divisor, loss, gradient);
  }

  /// `loss = scale sum w (d - y)^2` with `w = 1 / sigma^2 + constant`, or `constant` without sigma.
  private void weightedSquares(
      Tensor d,
      Tensor y,
      @Nullable Tensor sigma,
      double constant,
      double scale,
      Tensor loss,
      Tensor gradient) {
    int pack = pack(d, d.address() | y.address() | gradient.address());
    long blocks = Math.min(Math.ceilDiv(d.elements(), (long) THREADS * pack), LOSS_BLOCKS);
    try (var partial = context.memory().scratch(Float.BYTES * blocks)) {
      weightedSquares
          .begin()
          .pointer(d)
          .pointer(y)
          .pointer(sigma)
          .pointer(gradient)
          .f32(constant)
          .f32(scale)
          .pointer(loss)
          .address(partial.address())
          .address(context.counters(1))
          .i64(samples(d))
          .i64(pixels(d))
          .i32(pack)
          .launch(blocks, THREADS);
    }
  }

  @Override
  public void scoreDifference(
      Tensor x,
      Tensor real,
      Tensor fake,
      ScoreDifference.Form form,
      double floor,
      Tensor loss,
      Tensor gradient) {
    if (form == ScoreDifference.Form.DI) {
      weightedSquares(fake, real, null, 0.5, 1.0 / samples(x), loss, gradient);
      return;
    }
    int pack = pack(x, x.address() | real.address() | fake.address() | gradient.address());
    double scale = 1.0 / x.elements();
    long n = samples(x);
    try (var partial = context.memory().scratch(Float.BYTES * n)) {
      if (whole(x)) {
        images(difference, x, real, fake, floor, scale, pack);
        loss(difference, scale / 2, loss, partial).pointer(gradient).launch(n, threads(x, pack));
        return;
      }
      long size = chunk(x);
      long blocks = n * Math.ceilDiv(pixels(x), size);
      try (var chunkSums = context.memory().scratch(2 * Float.BYTES * blocks)) {
        images(sums, x, real, fake, floor, scale, pack)
            .address(chunkSums.address())
            .i64(size)
            .flag(false)
            .f32(0)
            .launch(blocks, THREADS);
        images(differenceInChunks, x, real, fake, floor, scale, pack);
        loss(differenceInChunks, scale / 2, loss, partial)
            .address(chunkSums.address())
            .i64(size)
            .pointer(gradient)
            .launch(blocks, THREADS);
      }
    }
  }

  @Override
  public void sid(
      Tensor x,
      Tensor real,
      Tensor fake,
      double alpha,
      double floor,
      Tensor loss,
      Tensor dx,
      Tensor dreal,
      Tensor dfake) {
    long read = x.address() | real.address() | fake.address();
    int pack = pack(x, read | dx.address() | dreal.address() | dfake.address());
    long n = samples(x);
    double scale = 1.0 / n;
    try (var partial = context.memory().scratch(Float.BYTES * n)) {
      if (whole(x)) {
        images(sid, x, real, fake, floor, scale, pack);
        loss(sid, scale, loss, partial)
            .f32(alpha)
            .pointer(dx)
            .pointer(dreal)
            .pointer(dfake)
            .launch(n, threads(x, pack));
        return;
      }
      long size = chunk(x);
      long blocks = n * Math.ceilDiv(pixels(x), size);
      try (var chunkSums = context.memory().scratch(2 * Float.BYTES * blocks)) {
        images(sums, x, real, fake, floor, scale, pack)
            .address(chunkSums.address())
            .i64(size)
            .flag(true)
            .f32(alpha)
            .launch(blocks, THREADS);
        images(sidInChunks, x, real, fake, floor, scale, pack);
        loss(sidInChunks, scale, loss, partial)
            .address(chunkSums.address())
            .i64(size)
            .f32(alpha)
            .pointer(dx)
            .pointer(dreal)
            .pointer(dfake)
            .launch(blocks, THREADS);
      }
    }
  }

  /// Begins a kernel of three images.
  private static CudaKernel images(
      CudaKernel kernel, Tensor x, Tensor real, Tensor fake, double floor, double scale, int pack) {
    return kernel
        .begin()
        .pointer(x)
        .pointer(real)
        .pointer(fake)
        .i64(samples(x))
        .i64(pixels(x))
        .f32(floor)
        .f32(scale)
        .i32(pack);
  }

  private CudaKernel loss(
      CudaKernel kernel, double scale, Tensor loss, CudaMemory.Scratch partial) {
    return kernel.f32(scale).pointer(loss).address(partial.address()).address(context.counters(1));
  }

  /// Whether a block can keep a sample.
  private static boolean whole(Tensor images) {
    return pixels(images) <= HELD * MOST_THREADS;
  }

  /// Threads of a block that keeps a sample: as many as have work.
  private static int threads(Tensor images, int pack) {
    return Math.clamp(Math.ceilDiv(pixels(images), 32L * pack) * 32, 32, MOST_THREADS);
  }

  /// Elements of a block's part of a sample.
  private static long chunk(Tensor images) {
    long pixels = pixels(images);
    long chunks = Math.min(Math.ceilDiv(pixels, (long) CHUNK), MOST_CHUNKS);
    return Math.ceilDiv(pixels, 4 * chunks) * 4;
  }

  private static int pack(Tensor images, long addresses) {
    return addresses % 16 == 0 && pixels(images) % 4 == 0 ? 4 : 1;
  }

  private static long samples(Tensor images) {
    return images.shape().dim(0);
  }

  private static long pixels(Tensor images) {
    return images.elements() / images.shape().dim(0);
  }

  private static long address(@Nullable Tensor tensor) {
    return tensor == null ? 0 : tensor.address();
  }
}
