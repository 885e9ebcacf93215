package io.retort.diffusion;

/// A way from noise to an image: which states a denoiser is asked about, and what is done with its
/// answers. State in float64.
public sealed interface Sampler
    permits HeunSampler, DdimSampler, DdpmSampler, DpmSolverSampler, LcmSampler {

  /// The denoised estimate of all samples, in the state `x = signal clean + noise n` of a level.
  @FunctionalInterface
  interface Denoise {
    double[] at(double[] x, Level level);
  }

  /// Fresh standard normal numbers, as many as the state has.
  @FunctionalInterface
  interface Normals {
    double[] next(int step);
  }

  /// Told after every step: the state and how many steps are done.
  @FunctionalInterface
  interface Progress {
    void done(int steps, double[] x);
  }

  /// Steps of one run.
  int steps();

  /// Network evaluations of one run.
  int evaluations();

  /// Samples from standard normal latents.
  ///
  /// @param normals asked by the samplers that add noise on the way
  double[] sample(double[] latents, Denoise denoise, Normals normals, Progress progress);
}
