package io.retort.backend;

import io.retort.op.MmdKernel;
import io.retort.op.MmdKernels;
import io.retort.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// [MmdKernels] as `cuda/mmd.cu` computes them.
///
/// The weights of the gradient exist for a strip of points at a time, as many as fit 32 MiB, which
/// stay in the second-level cache; the value alone has none. Where there are few tiles, each is
/// summed in parts. All this depends on the shapes alone, and so do the results.
final class CudaMmd implements MmdKernels {
  private static final int THREADS = 256;

  /// A block of the kernels that go by columns, and its columns.
  private static final int COLUMN_THREADS = 512;

  private static final int COLUMNS = 32;

  /// Points of a block of `centre`, a warp each.
  private static final int POINTS = THREADS / 32;

  /// Tiles that fill a device.
  private static final long ENOUGH_TILES = 132;

  private static final long STRIP_BYTES = 32L << 20;

  /// Widths that one launch of `rates` takes.
  private static final int WIDTHS = 8;

  private final CudaContext context;
  private final long enough;
  private final long stripBytes;
  private final CudaKernels linear;
  private final CudaKernels mean;
  private final CudaKernels centre;
  private final CudaKernel rates;
  private final CudaKernel total;
  private final Tile large;
  private final Tile small;

  CudaMmd(CudaContext context) {
    this(context, ENOUGH_TILES, STRIP_BYTES);
  }

  /// For tests of what only large samples need.
  ///
  /// @param enough tiles from which on they are large, and below which they are cut into parts
  CudaMmd(CudaContext context, long enough, long stripBytes) {
    this.context = context;
    this.enough = enough;
    this.stripBytes = stripBytes;
    var module = new CudaModule(context, "mmd");
    linear = module.typed("rt_mmd_linear", "pplllipp");
    mean = module.typed("rt_mmd_mean", "pplllp");
    centre = module.typed("rt_mmd_centre", "pppllllpp");
    rates = module.kernel("rt_mmd_rates", "plddddddddiip");
    total = module.kernel("rt_mmd_total", "plp");
    large = Tile.of(module, 128, 256, 64 << 10);
    small = Tile.of(module, 64, 128, 32 << 10);
  }

  /// The kernels that work on square tiles of one size.
  ///
  /// @param sharedBytes of a block
  private record Tile(
      int size,
      int threads,
      int sharedBytes,
      CudaKernel rbf,
      CudaKernel energy,
      CudaKernel polynomial,
      CudaKernel gradient) {
    /// Columns of a warp.
    private static final int WARP = 32;

    static Tile of(CudaModule module, int size, int threads, int sharedBytes) {
      String signature = "pppiff" + "lll" + "ddd" + "ipplll" + "pppll";
      return new Tile(
          size,
          threads,
          sharedBytes,
          module.kernel("rt_mmd_tiles_rbf_" + size, signature),
          module.kernel("rt_mmd_tiles_energy_" + size, signature),
          module.kernel("rt_mmd_tiles_polynomial_" + size, signature),
          module.kernel("rt_mmd_gradient_" + size, "ppp" + "llll" + "illp"));
    }

    long count(long extent) {
      return Math.ceilDiv(extent, (long) size);
    }
  }

  @Override
  public void mmd(
      MmdKernel kernel,
      boolean unbiased,
      Tensor u,
      Tensor v,
      Tensor loss,
      @Nullable Tensor gradient) {
    var sample = new Sample(u, v);
    if (kernel instanceof MmdKernel.Linear) {
      linear(sample, unbiased, loss, gradient);
      return;
    }
    long widths = kernel instanceof MmdKernel.Rbf rbf ? rbf.bandwidthFactors().size() : 1;
    CudaMemory memory = context.memory();
    try (var z = memory.scratch(Float.BYTES * sample.points() * sample.pitch());
        var norms = memory.scratch(Float.BYTES * sample.points());
        var exponents = memory.scratch(Float.BYTES * widths)) {
      centre(sample, !(kernel instanceof MmdKernel.Polynomial), z.address(), norms.address());
      if (kernel instanceof MmdKernel.Rbf rbf) {
        rates(rbf.bandwidthFactors(), sample, norms.address(), exponents.address());
      }
      new Matrix(kernel, unbiased, sample, z.address(), norms.address(), exponents.address())
          .sum(loss, gradient);
    }
  }

  private record Sample(Tensor u, Tensor v) {
    long n() {
      return u.shape().dim(0);
    }

    long m() {
      return v.shape().dim(0);
    }

    long d() {
      return u.shape().last();
    }

    long points() {
      return n() + m();
    }

    /// Floats from one packed point to the next.
    long pitch() {
      return padded(d());
    }

    /// A row of float32 that consists of whole chunks of 16 bytes.
    static long padded(long floats) {
      return Math.ceilDiv(floats, 4L) * 4;
    }
  }

  private void linear(Sample sample, boolean unbiased, Tensor loss, @Nullable Tensor gradient) {
    long blocks = Math.ceilDiv(sample.d(), (long) COLUMNS);
    try (var shares = context.memory().scratch(Double.BYTES * blocks)) {
      linear
          .begin(sample.u.dtype())
          .pointer(sample.u)
          .pointer(sample.v)
          .i64(sample.n())
          .i64(sample.m())
          .i64(sample.d())
          .flag(unbiased)
          .address(shares.address())
          .pointer(gradient)
          .launch(blocks, COLUMN_THREADS);
      total(shares.address(), blocks, loss);
    }
  }

  private void total(long shares, long count, Tensor loss) {
    total.begin().address(shares).i64(count).pointer(loss).launch(1, THREADS);
  }

  /// Packs the joint sample, less its mean if `centred`.
  private void centre(Sample sample, boolean centred, long z, long norms) {
    Tensor u = sample.u;
    Tensor v = sample.v;
    try (var mean = context.memory().scratch(Float.BYTES * sample.d())) {
      if (centred) {
        this.mean
            .begin(u.dtype())
            .pointer(u)
            .pointer(v)
            .i64(sample.n())
            .i64(sample.m())
            .i64(sample.d())
            .address(mean.address())
            .launch(Math.ceilDiv(sample.d(), (long) COLUMNS), COLUMN_THREADS);
      }
      centre
          .begin(u.dtype())
          .pointer(u)
          .pointer(v)
          .address(centred ? mean.address() : 0)
          .i64(sample.n())
          .i64(sample.m())
          .i64(sample.d())
          .i64(sample.pitch())
          .address(z)
          .address(norms)
          .launch(Math.ceilDiv(sample.points(), (long) POINTS), THREADS);
    }
  }

  private void rates(List<Double> factors, Sample sample, long norms, long exponents) {
    for (int first = 0; first < factors.size(); first += WIDTHS) {
      int count = Math.min(WIDTHS, factors.size() - first);
      CudaKernel kernel = rates.begin().address(norms).i64(sample.points());
      for (int i = 0; i < WIDTHS; i++) {
        kernel.f64(i < count ? factors.get(first + i) : 1);
      }
      kernel.i32(first).i32(count).address(exponents).launch(1, THREADS);
    }
  }

  /// The kernel matrix of a packed sample.
  private final class Matrix {
    /// Dimensions that are worth a part of their own.
    private static final long PART = 128;

    private final MmdKernel kernel;
    private final boolean unbiased;
    private final Sample sample;
    private final long z;
    private final long norms;
    private final long exponents;
    private final Tile tile;
    private final long tiles;
    private final long partDepth;
    private final long weightsPitch;

    Matrix(MmdKernel kernel, boolean unbiased, Sample sample, long z, long norms, long exponents) {
      this.kernel = kernel;
      this.unbiased = unbiased;
      this.sample = sample;
      this.z = z;
      this.norms = norms;
      this.exponents = exponents;
      tile = square(tiles(large)) / 2 >= enough ? large : small;
      tiles = tiles(tile);
      long parts = Math.clamp(2 * enough / square(tiles), 1, Math.ceilDiv(sample.pitch(), PART));
      partDepth = Math.ceilDiv(Math.ceilDiv(sample.pitch(), parts), PART) * PART;
      weightsPitch = Sample.padded(sample.points());
    }

    private static long square(long side) {
      return side * side;
    }

    /// Tiles of one side; none has points of both samples.
    private long tiles(Tile of) {
      return of.count(sample.n()) + of.count(sample.m());
    }

    private long parts() {
      return Math.ceilDiv(sample.pitch(), partDepth);
    }

    void sum(Tensor loss, @Nullable Tensor gradient) {
      long shareCount = square(tiles);
      long split = parts() > 1 ? square(tiles) : 0;
      CudaMemory memory = context.memory();
      try (var shares = memory.scratch(Double.BYTES * shareCount);
          var arrived = memory.scratch(Math.max(1, split * Integer.BYTES));
          var parts =
              memory.scratch(Math.max(1, split * parts() * square(tile.size) * Float.BYTES))) {
        if (split > 0) {
          memory.zero(arrived.address(), split * Integer.BYTES);
        }
        var sums = new Sums(shares.address(), parts.address(), arrived.address());
        if (gradient == null) {
          tiles(sums, 0, 0, 0, 0, tiles);
        } else {
          gradient(sums, gradient);
        }
        total(shares.address(), shareCount, loss);
      }
    }

    /// Addresses of what tiles leave: their shares of the value, and parts of their products.
    private record Sums(long shares, long parts, long arrived) {}

    private void gradient(Sums sums, Tensor gradient) {
      long n = sample.n();
      long fitting = stripBytes / Float.BYTES / weightsPitch / large.size * large.size;
      long most = Math.min(n, Math.max(large.size, fitting));
      long totalsOfRow = tiles * (tile.size / Tile.WARP);
      try (var weights = context.memory().scratch(Float.BYTES * most * weightsPitch);
          var totals = context.memory().scratch(Float.BYTES * most * totalsOfRow)) {
        boolean distances = !(kernel instanceof MmdKernel.Polynomial);
        for (long first = 0; first < n; first += most) {
          long rows = Math.min(most, n - first);
          long end = first + rows < n ? (first + rows) / tile.size : tiles; // at last those of v
          tiles(sums, weights.address(), totals.address(), first, rows, end);
          Tile product = large.count(rows) * large.count(sample.d()) >= enough ? large : small;
          product
              .gradient
              .begin()
              .address(z)
              .address(weights.address())
              .address(distances ? totals.address() : 0)
              .i64(first)
              .i64(rows)
              .i64(weightsPitch)
              .i64(sample.points())
              .i32(Math.toIntExact(totalsOfRow))
              .i64(sample.d())
              .i64(sample.pitch())
              .pointer(gradient)
              .launch(
                  product.count(rows) * product.count(sample.d()),
                  product.threads,
                  product.sharedBytes);
        }
      }
    }

    /// The rows of tiles from that of point `first` to `end`; a strip of `rows` rows of u has
    /// weights unless their address is 0.
    private void tiles(Sums sums, long weights, long totals, long first, long rows, long end) {
      double n = sample.n();
      double m = sample.m();
      CudaKernel tiles =
          switch (kernel) {
            case MmdKernel.Rbf rbf -> numbers(tile.rbf, rbf.bandwidthFactors().size(), 0, 0);
            case MmdKernel.Polynomial(int degree, double scale, double offset) ->
                numbers(tile.polynomial, degree, scale, offset);
            case MmdKernel.Energy _, MmdKernel.Linear _ -> numbers(tile.energy, 0, 0, 0);
          };
      tiles
          .i64(sample.n())
          .i64(sample.m())
          .i64(sample.pitch())
          .f64(1 / (n * (unbiased ? n - 1 : n)))
          .f64(-1 / (n * m))
          .f64(1 / (m * (unbiased ? m - 1 : m)))
          .flag(unbiased)
          .address(weights)
          .address(totals)
          .i64(first)
          .i64(rows)
          .i64(weightsPitch)
          .address(sums.shares)
          .address(sums.parts)
          .address(sums.arrived)
          .i64(first / tile.size)
          .i64(partDepth)
          .launch(this.tiles, end - first / tile.size, parts(), tile.threads, tile.sharedBytes);
    }

    private CudaKernel numbers(CudaKernel kernel, int count, double scale, double offset) {
      return kernel
          .begin()
          .address(z)
          .address(norms)
          .address(exponents)
          .i32(count)
          .f32(scale)
          .f32(offset);
    }
  }
}
