package io.retort.op;

import io.retort.tensor.Memory;
import java.util.function.Supplier;

/// Hardware that ops run on: its memory and its kernels, one interface a family.
///
/// Only ops call kernels (and `optim` the optimizer's). Kernels take tensors that are already
/// checked.
public interface Backend {

  /// Short name as the command line spells it: `cpu`, `cuda`.
  String name();

  /// What computes, in a few words: name, hardware, build of the kernels.
  String description();

  Memory memory();

  /// Runs work that comes again and again with other data, as a phase of a training step does. A
  /// device may collect its kernels and start them all at once, so `work` may read no result; who
  /// asks for one all the same gets it, at the price of waiting.
  ///
  /// @param unit what it is called in remarks
  default <T> T together(String unit, Supplier<T> work) {
    return work.get();
  }

  /// Runs work that takes nothing from the host and whose kernels follow from what was queued
  /// before it and from a signature, as those of a backward pass do. Where the device knows them
  /// already, it may queue them without running `work`: what `work` leaves is in tensors of before,
  /// or nothing.
  ///
  /// @param signature equal for equal kernels; only asked for inside [#together]
  default void derived(Supplier<?> signature, Runnable work) {
    work.run();
  }

  // one accessor a family, alphabetical

  AttentionKernels attention();

  ConvolutionKernels convolutions();

  ElementwiseKernels elementwise();

  MmdKernels mmd();

  OptimizerKernels optimizers();

  ScoreKernels scores();

  ReductionKernels reductions();

  ProductKernels products();

  RandomKernels random();

  LayoutKernels layouts();

  EmbeddingKernels embeddings();

  NormKernels norms();

  SoftmaxKernels softmax();

  ResampleKernels resampling();

  AugmentKernels augmentations();
}
