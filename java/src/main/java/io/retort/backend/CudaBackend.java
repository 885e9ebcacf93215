package io.retort.backend;

import io.retort.bindings.NativeLinkError;
import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaEmulator;
import io.retort.bindings.cuda.CudaLibrary;
import io.retort.op.AttentionKernels;
import io.retort.op.AugmentKernels;
import io.retort.op.Backend;
import io.retort.op.ConvolutionKernels;
import io.retort.op.ElementwiseKernels;
import io.retort.op.EmbeddingKernels;
import io.retort.op.LayoutKernels;
import io.retort.op.MmdKernels;
import io.retort.op.NormKernels;
import io.retort.op.OptimizerKernels;
import io.retort.op.ProductKernels;
import io.retort.op.RandomKernels;
import io.retort.op.ReductionKernels;
import io.retort.op.ResampleKernels;
import io.retort.op.ScoreKernels;
import io.retort.op.SoftmaxKernels;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/// A CUDA device: the kernels of `cuda/` on device memory, launched from Java.
///
/// Opened once a process, binding and policy, on the first device that the driver shows. Kernels
/// are queued on one stream, or collected and started as a CUDA graph; only reads wait for them.
/// Used by one thread at a time.
public final class CudaBackend implements Backend, AutoCloseable {
  static final String NAME = "cuda";

  private static final Map<Key, CudaBackend> OPENED = new HashMap<>();

  private final CudaContext context;
  private final Multiplication multiplication;

  private final AttentionKernels attention;
  private final AugmentKernels augmentations;
  private final ConvolutionKernels convolutions;
  private final ElementwiseKernels elementwise;
  private final EmbeddingKernels embeddings;
  private final LayoutKernels layouts;
  private final MmdKernels mmd;
  private final NormKernels norms;
  private final OptimizerKernels optimizers;
  private final ProductKernels products;
  private final RandomKernels random;
  private final ReductionKernels reductions;
  private final ResampleKernels resampling;
  private final ScoreKernels scores;
  private final SoftmaxKernels softmax;

  /// What there is one backend for.
  private record Key(CudaBinding binding, GemmPolicy policy) {}

  private CudaBackend(CudaDriver driver, Key key) {
    var devices = CudaDevice.list(driver);
    if (devices.isEmpty()) {
      throw new NativeLinkError(
          "The CUDA driver shows no device; CUDA_VISIBLE_DEVICES may hide it");
    }
    context = CudaContext.open(driver, devices.getFirst());
    multiplication = Multiplication.of(context, key);
    var gemm = new CudaGemm(context, CudaTiling::fastest, multiplication.chooser);
    var sums = new CudaReduction(context);

    // one line a family, alphabetical
    attention = new CudaAttention(context);
    augmentations = new CudaAugment(context);
    convolutions = new CudaConvolution(context, gemm, sums);
    elementwise = new CudaElementwise(context);
    embeddings = new CudaEmbedding(context);
    layouts = new CudaLayout(context);
    mmd = new CudaMmd(context);
    norms = new CudaNorm(context);
    optimizers = new CudaOptimizer(context);
    products = new CudaProduct(gemm, sums);
    random = new CudaRandom(context);
    reductions = sums;
    resampling = new CudaResample(context);
    scores = new CudaScore(context);
    softmax = new CudaSoftmax(context);
  }

  /// Who multiplies matrices, and why.
  ///
  /// @param name of who does, for the device's description
  private record Multiplication(@Nullable GemmChooser chooser, String name, String reason) {
    private static final String ITSELF = "own products";

    private static Multiplication itself(String reason) {
      return new Multiplication(null, ITSELF, "Retort's kernels multiply: " + reason);
    }

    static Multiplication of(CudaContext context, Key key) {
      GemmPolicy policy = key.policy;
      if (policy == GemmPolicy.OWN) {
        return itself("asked for");
      }
      if (policy == GemmPolicy.AUTO && context.emulator().isPresent()) {
        return itself("an emulator's times say nothing");
      }
      var found = CublasGemm.Found.of(context, key.binding);
      if (found.library().isEmpty()) {
        if (policy == GemmPolicy.AUTO) {
          return itself(found.reason());
        }
        context.close();
        throw new NativeLinkError("--cuda-gemm cublas: " + found.reason());
      }
      CublasGemm library = found.library().get();
      String version = library.version();
      if (policy == GemmPolicy.CUBLAS) {
        return new Multiplication(
            new GemmChooser(context, library, null),
            "products by " + version,
            "%s multiplies (%s): asked for".formatted(version, library.library()));
      }
      GemmTable table = GemmTable.open(GemmChooser.identity(context, library), GemmTable.folder());
      return new Multiplication(
          new GemmChooser(context, library, table),
          "products by %s where that was faster".formatted(version),
          "%s multiplies (%s) where that was faster".formatted(version, library.library()));
    }
  }

  /// The backend of this process that multiplies matrices itself.
  ///
  /// @param library a path, `emulator`, or null for the driver that the loader finds
  /// @throws NativeLinkError if there is no driver or no device, or the kernels do not fit it
  /// @throws io.retort.bindings.cuda.CudaException if the driver fails
  public static CudaBackend open(CudaBinding binding, @Nullable String library) {
    return open(binding, library, GemmPolicy.OWN);
  }

  /// The backend of this process.
  ///
  /// @param library a path, `emulator`, or null for the driver that the loader finds
  /// @throws NativeLinkError if there is no driver or no device, the kernels do not fit it, or the
  ///   library that is to multiply is missing
  /// @throws io.retort.bindings.cuda.CudaException if the driver fails
  public static CudaBackend open(CudaBinding binding, @Nullable String library, GemmPolicy policy) {
    var opened = CudaLibrary.open(library);
    var key = new Key(binding, policy);
    synchronized (OPENED) {
      return OPENED.computeIfAbsent(key, k -> new CudaBackend(binding.driver(opened), k));
    }
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public String description() {
    return "%s (%s, %s, %s, %s)"
        .formatted(
            NAME, device().name(), target(), context.driver().binding(), multiplication.name);
  }

  @Override
  public CudaMemory memory() {
    return context.memory();
  }

  @Override
  public <T> T together(String unit, Supplier<T> work) {
    return context.queue().collect(unit, work);
  }

  @Override
  public void derived(Supplier<?> signature, Runnable work) {
    context.queue().derived(signature, work);
  }

  /// Lets [#together] collect work and start it as CUDA graphs, or not any more, and gives up those
  /// there are; off at first.
  ///
  /// @param remarks told what was captured, and what could not be and why
  public void useGraphs(boolean on, Consumer<String> remarks) {
    Optional<String> obstacle = graphObstacle();
    context.queue().graphs().tell(remarks);
    context.queue().enable(on && obstacle.isEmpty());
    if (on) {
      obstacle.ifPresent(reason -> remarks.accept("cuda graphs: not used, because " + reason));
    }
  }

  /// Why work cannot be collected in this process, if it cannot.
  public Optional<String> graphObstacle() {
    if (context.synchronous()) {
      return Optional.of("RETORT_SYNC=1 waits for every launch");
    }
    return memory().poisoned()
        ? Optional.of("retort.poison=true fills every block that is handed out")
        : Optional.empty();
  }

  /// What became of collected work, a sentence for each unit.
  public List<String> graphReport() {
    return context.queue().graphs().report();
  }

  /// The device that computes.
  public CudaDevice device() {
    return context.device();
  }

  /// Which build of the kernels it runs: `sm_90a`, `compute_80`, `emulator`.
  public String target() {
    return context.target();
  }

  @Override
  public AttentionKernels attention() {
    return attention;
  }

  @Override
  public AugmentKernels augmentations() {
    return augmentations;
  }

  @Override
  public ConvolutionKernels convolutions() {
    return convolutions;
  }

  @Override
  public ElementwiseKernels elementwise() {
    return elementwise;
  }

  @Override
  public EmbeddingKernels embeddings() {
    return embeddings;
  }

  @Override
  public LayoutKernels layouts() {
    return layouts;
  }

  @Override
  public MmdKernels mmd() {
    return mmd;
  }

  @Override
  public NormKernels norms() {
    return norms;
  }

  @Override
  public OptimizerKernels optimizers() {
    return optimizers;
  }

  @Override
  public ProductKernels products() {
    return products;
  }

  @Override
  public RandomKernels random() {
    return random;
  }

  @Override
  public ReductionKernels reductions() {
    return reductions;
  }

  @Override
  public ResampleKernels resampling() {
    return resampling;
  }

  @Override
  public ScoreKernels scores() {
    return scores;
  }

  @Override
  public SoftmaxKernels softmax() {
    return softmax;
  }

  /// Who multiplied which shape and why, as a file of tab-separated values; nothing where there is
  /// nothing to choose.
  public Optional<String> productTable() {
    return table().map(GemmTable::text);
  }

  private Optional<GemmTable> table() {
    return Optional.ofNullable(multiplication.chooser).flatMap(GemmChooser::table);
  }

  /// Who multiplies matrices and why, in a sentence.
  public String productSummary() {
    return multiplication.reason + table().map(chosen -> ", " + chosen.summary()).orElse("");
  }

  /// Chooses as a [#productTable] of an earlier process did.
  ///
  /// @return whether that was made on this device, with this library and these kernels; another is
  ///   not taken
  public boolean adoptProducts(String table) {
    return multiplication.chooser != null && multiplication.chooser.adopt(table);
  }

  /// A new clock of what is queued on the device.
  public CudaTimer timer() {
    return new CudaTimer(context);
  }

  /// The controls of the emulator, if this is no real device.
  public Optional<CudaEmulator> emulator() {
    return context.emulator();
  }

  /// Gives the device back; for tests, since a process that ends does so by itself.
  @Override
  public void close() {
    synchronized (OPENED) {
      OPENED.values().remove(this);
    }
    if (multiplication.chooser != null) {
      multiplication.chooser.close();
    }
    context.close();
  }
}
