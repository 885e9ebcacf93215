package io.retort.backend;

import io.retort.bindings.NativeLinkError;
import io.retort.bindings.cuda.CudaDriver;
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
import io.retort.op.UnsupportedOpException;
import java.lang.reflect.Proxy;
import java.util.EnumMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// A CUDA device: the kernels of `cuda/` on device memory, launched from Java.
///
/// Opened once a process and binding, on the first device that the driver shows. Kernels are queued
/// on one stream; only reads wait for them. Used by one thread at a time.
public final class CudaBackend implements Backend, AutoCloseable {
  static final String NAME = "cuda";

  private static final Map<CudaBinding, CudaBackend> OPENED = new EnumMap<>(CudaBinding.class);

  private final CudaContext context;

  // one line a family, alphabetical
  private final AttentionKernels attention = missing(AttentionKernels.class);
  private final AugmentKernels augmentations = missing(AugmentKernels.class);
  private final ConvolutionKernels convolutions = missing(ConvolutionKernels.class);
  private final ElementwiseKernels elementwise;
  private final EmbeddingKernels embeddings = missing(EmbeddingKernels.class);
  private final LayoutKernels layouts = missing(LayoutKernels.class);
  private final MmdKernels mmd = missing(MmdKernels.class);
  private final NormKernels norms = missing(NormKernels.class);
  private final OptimizerKernels optimizers = missing(OptimizerKernels.class);
  private final ProductKernels products = missing(ProductKernels.class);
  private final RandomKernels random = missing(RandomKernels.class);
  private final ReductionKernels reductions = missing(ReductionKernels.class);
  private final ResampleKernels resampling = missing(ResampleKernels.class);
  private final ScoreKernels scores = missing(ScoreKernels.class);
  private final SoftmaxKernels softmax = missing(SoftmaxKernels.class);

  private CudaBackend(CudaDriver driver) {
    var devices = CudaDevice.list(driver);
    if (devices.isEmpty()) {
      throw new NativeLinkError(
          "The CUDA driver shows no device; CUDA_VISIBLE_DEVICES may hide it");
    }
    context = CudaContext.open(driver, devices.getFirst());
    elementwise = new CudaElementwise(context);
  }

  /// The backend of this process.
  ///
  /// @param library a path, `emulator`, or null for the driver that the loader finds
  /// @throws NativeLinkError if there is no driver or no device, or the kernels do not fit it
  /// @throws io.retort.bindings.cuda.CudaException if the driver fails
  public static CudaBackend open(CudaBinding binding, @Nullable String library) {
    var opened = CudaLibrary.open(library);
    synchronized (OPENED) {
      return OPENED.computeIfAbsent(binding, b -> new CudaBackend(b.driver(opened)));
    }
  }

  /// A family whose kernels are not written yet.
  private static <T> T missing(Class<T> family) {
    return family.cast(
        Proxy.newProxyInstance(
            family.getClassLoader(),
            new Class<?>[] {family},
            (self, method, arguments) -> {
              throw new UnsupportedOpException(
                  method.getName(), NAME, "no kernels yet for " + family.getSimpleName());
            }));
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public CudaMemory memory() {
    return context.memory();
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

  /// Gives the device back; for tests, since a process that ends does so by itself.
  @Override
  public void close() {
    synchronized (OPENED) {
      OPENED.values().remove(this);
    }
    context.close();
  }
}
