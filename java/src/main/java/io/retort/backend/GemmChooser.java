package io.retort.backend;

import io.retort.backend.CudaGemm.Matrix;
import io.retort.backend.CudaGemm.Product;
import io.retort.backend.GemmTable.Entry;
import io.retort.bindings.cuda.Cublas;
import io.retort.bindings.cuda.CudaImages;
import io.retort.tensor.DType;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Gives each product to Retort's kernels or to NVIDIA's library.
///
/// To be faster by a hair is not enough: the library's part has to pay for being another piece that
/// can fail.
final class GemmChooser implements AutoCloseable {
  private static final int ROUNDS = 5;
  private static final double ROUND_MICROSECONDS = 300;
  private static final int MOST_REPEATS = 50;

  /// What of the time of Retort's kernels the library may take at most.
  private static final double WORTH = 0.97;

  private final CudaContext context;
  private final CublasGemm library;
  private final @Nullable GemmTable table;
  private final Map<Cublas.Product, Boolean> decided = new HashMap<>();

  /// @param table what is known of times; without one everything is for the library
  GemmChooser(CudaContext context, CublasGemm library, @Nullable GemmTable table) {
    this.context = context;
    this.library = library;
    this.table = table;
  }

  /// What times depend on, in a line.
  static String identity(CudaContext context, CublasGemm library) {
    byte[] kernels = CudaContext.sha256(CudaImages.read(context.target(), "matmul"));
    return "%s (%s), %s, kernels %s"
        .formatted(
            context.device().name(),
            context.target(),
            library.version(),
            HexFormat.of().formatHex(kernels).substring(0, 16));
  }

  Optional<GemmTable> table() {
    return Optional.ofNullable(table);
  }

  /// The decisions of a file from now on, if they were made on this device.
  boolean adopt(String text) {
    decided.clear();
    return table != null && table.adopt(text);
  }

  /// Computes a product, by whom it is for.
  void multiply(
      CudaGemm own, Product product, Matrix a, Matrix b, long bias, long c, DType result) {
    if (product.results() == 0 || product.k() == 0) {
      own.multiplyItself(product, a, b, bias, c, result);
      return;
    }
    boolean adds = bias == 0 || bias % Cublas.ALIGNMENT == 0 && library.addsBias(result);
    Cublas.Product shape = CublasGemm.shape(product, a, b, bias != 0, c, result);
    // A bias that the library does not add is added to a result in float32.
    Cublas.Product asked = adds ? shape : CublasGemm.shape(product, a, b, false, 0, DType.F32);
    Runnable itself = () -> own.multiplyItself(product, a, b, bias, c, result);
    Runnable byLibrary =
        adds
            ? () -> library.multiply(asked, a.address(), b.address(), bias, c)
            : () -> {
              try (Matrix sums = own.floats(product.results())) {
                library.multiply(asked, a.address(), b.address(), 0, sums.address());
                own.sum(sums.address(), 1, product.results(), product.n(), bias, c, result);
              }
            };
    if (table == null || decided(table, shape, asked, itself, byLibrary)) {
      byLibrary.run();
    } else {
      itself.run();
    }
  }

  /// @param shape what is decided about, `asked` what the library would do of it
  private boolean decided(
      GemmTable times,
      Cublas.Product shape,
      Cublas.Product asked,
      Runnable itself,
      Runnable byLibrary) {
    Boolean known = decided.get(shape);
    if (known != null) {
      return known;
    }
    context.enter();
    String name = GemmTable.name(shape);
    Entry entry = times.get(name);
    if (entry == null) {
      entry = times.decide(name, measured(asked, itself, byLibrary));
    }
    decided.put(shape, entry.byLibrary());
    return entry.byLibrary();
  }

  /// Both in turns, after a first time that loads code.
  private Entry measured(Cublas.Product asked, Runnable itself, Runnable byLibrary) {
    if (!library.supports(asked)) {
      return new Entry(false, Double.NaN, Double.NaN);
    }
    var entry = new Entry[1];
    context.queue().atOnce(() -> entry[0] = timed(itself, byLibrary));
    return entry[0];
  }

  private Entry timed(Runnable itself, Runnable byLibrary) {
    try (var timer = new CudaTimer(context)) {
      itself.run();
      byLibrary.run();
      double rough = time(timer, itself, 1);
      int repeats = (int) Math.clamp(ROUND_MICROSECONDS / Math.max(rough, 1), 1, MOST_REPEATS);
      double[] own = new double[ROUNDS];
      double[] theirs = new double[ROUNDS];
      for (int i = 0; i < ROUNDS; i++) {
        own[i] = time(timer, itself, repeats);
        theirs[i] = time(timer, byLibrary, repeats);
      }
      return decision(median(own), median(theirs));
    }
  }

  static Entry decision(double own, double library) {
    return new Entry(library < WORTH * own, own, library);
  }

  private static double time(CudaTimer timer, Runnable product, int repeats) {
    timer.start();
    for (int i = 0; i < repeats; i++) {
      product.run();
    }
    timer.stop();
    return timer.microseconds() / repeats;
  }

  private static double median(double[] times) {
    Arrays.sort(times);
    return times[times.length / 2];
  }

  @Override
  public void close() {
    library.close();
  }
}
