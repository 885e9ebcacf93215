package io.retort.diffusion;

/// EDM's sampler: Heun's second-order steps along the probability-flow ODE, with optional churn.
/// State in float64.
///
/// Source: EDM, algorithms 1 and 2.
///
/// @param sigmas the noise levels
/// @param steps N; the network is evaluated 2N - 1 times
/// @param churn S_churn, 0 for the deterministic sampler
/// @param churnMin S_min
/// @param churnMax S_max
/// @param churnNoise S_noise
public record HeunSampler(
    KarrasSigmas sigmas,
    int steps,
    double churn,
    double churnMin,
    double churnMax,
    double churnNoise) {

  /// The denoised estimate of `x` at one noise level for all samples.
  @FunctionalInterface
  public interface Denoise {
    double[] at(double[] x, double sigma);
  }

  /// Fresh standard normal numbers, as many as the state has.
  @FunctionalInterface
  public interface Normals {
    double[] next(int step);
  }

  /// Told after every step: the state and how many steps are done.
  @FunctionalInterface
  public interface Progress {
    void done(int steps, double[] x);
  }

  public HeunSampler {
    if (steps < 1) {
      throw new IllegalArgumentException("sampler: steps must be >= 1, got " + steps);
    }
  }

  /// The deterministic sampler.
  public static HeunSampler deterministic(KarrasSigmas sigmas, int steps) {
    return new HeunSampler(sigmas, steps, 0, 0, Double.POSITIVE_INFINITY, 1);
  }

  /// Network evaluations of one run.
  public int evaluations() {
    return 2 * steps - 1;
  }

  /// Samples from standard normal latents.
  public double[] sample(double[] latents, Denoise denoise, Normals normals, Progress progress) {
    double[] t = sigmas.steps(steps);
    double[] x = new double[latents.length];
    for (int i = 0; i < x.length; i++) {
      x[i] = latents[i] * t[0];
    }
    for (int i = 0; i < steps; i++) {
      double gamma =
          t[i] >= churnMin && t[i] <= churnMax ? Math.min(churn / steps, Math.sqrt(2) - 1) : 0;
      double raised = t[i] * (1 + gamma);
      if (gamma > 0) {
        double scale = Math.sqrt(raised * raised - t[i] * t[i]) * churnNoise;
        double[] eps = normals.next(i);
        for (int j = 0; j < x.length; j++) {
          x[j] += scale * eps[j];
        }
      }
      x = step(x, raised, t[i + 1], i + 1 < steps, denoise);
      progress.done(i + 1, x);
    }
    return x;
  }

  private static double[] step(
      double[] x, double from, double to, boolean corrected, Denoise denoise) {
    double[] denoised = denoise.at(x, from);
    double[] slope = new double[x.length];
    double[] next = new double[x.length];
    for (int j = 0; j < x.length; j++) {
      slope[j] = (x[j] - denoised[j]) / from;
      next[j] = x[j] + (to - from) * slope[j];
    }
    if (corrected) {
      double[] again = denoise.at(next, to);
      for (int j = 0; j < x.length; j++) {
        double second = (next[j] - again[j]) / to;
        next[j] = x[j] + (to - from) * (slope[j] + second) / 2;
      }
    }
    return next;
  }
}
