package io.retort.backend;

import io.retort.bindings.cpu.NativeLibrary;
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

/// The processor: kernels of `libretort_cpu.so` and oneDNN on host memory.
///
/// Opened once a process; the library, its threads and the memory pool are shared by everyone who
/// opens it.
public final class CpuBackend implements Backend {
  private final CpuMemory memory = CpuMemory.fromEnvironment();

  // one line a family, alphabetical
  private final AttentionKernels attention = new CpuAttention();
  private final AugmentKernels augmentations = new CpuAugment();
  private final ConvolutionKernels convolutions = new CpuConvolution();
  private final ElementwiseKernels elementwise = new CpuElementwise();
  private final EmbeddingKernels embeddings = new CpuEmbedding();
  private final LayoutKernels layouts = new CpuLayout();
  private final MmdKernels mmd = new CpuMmd();
  private final NormKernels norms = new CpuNorm();
  private final OptimizerKernels optimizers = new CpuOptimizer();
  private final ProductKernels products = new CpuProduct();
  private final RandomKernels random = new CpuRandom();
  private final ReductionKernels reductions = new CpuReduction();
  private final ResampleKernels resampling = new CpuResample();
  private final ScoreKernels scores = new CpuScore();
  private final SoftmaxKernels softmax = new CpuSoftmax();

  /// What [#name] says, also through a [KernelProfile].
  public static final String NAME = "cpu";

  private CpuBackend() {}

  /// The backend of this process.
  ///
  /// @throws io.retort.bindings.NativeLinkError if the library does not load here, with the reason
  public static CpuBackend open() {
    return Opened.BACKEND;
  }

  private static final class Opened {
    static final CpuBackend BACKEND = new CpuBackend();
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public String description() {
    return "cpu (%s, %s, %d threads)"
        .formatted(
            NativeLibrary.cpu().model(), NativeLibrary.isa(), NativeLibrary.defaultThreads());
  }

  @Override
  public CpuMemory memory() {
    return memory;
  }

  @Override
  public AttentionKernels attention() {
    return attention;
  }

  @Override
  public MmdKernels mmd() {
    return mmd;
  }

  @Override
  public ElementwiseKernels elementwise() {
    return elementwise;
  }

  @Override
  public OptimizerKernels optimizers() {
    return optimizers;
  }

  @Override
  public ScoreKernels scores() {
    return scores;
  }

  @Override
  public ReductionKernels reductions() {
    return reductions;
  }

  @Override
  public RandomKernels random() {
    return random;
  }

  @Override
  public LayoutKernels layouts() {
    return layouts;
  }

  @Override
  public EmbeddingKernels embeddings() {
    return embeddings;
  }

  @Override
  public NormKernels norms() {
    return norms;
  }

  @Override
  public ResampleKernels resampling() {
    return resampling;
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
  public ProductKernels products() {
    return products;
  }

  @Override
  public SoftmaxKernels softmax() {
    return softmax;
  }
}
