package io.retort.diffusion;

/// EDM's sampler: Heun's second-order steps along the probability-flow ODE, with optional churn.
///
/// Noise levels outside the network's range are brought inside it and rounded to levels it knows.
/// Source: EDM, algorithms 1 and 2.
///
/// @param sigmas the noise levels
/// @param steps N; the network is evaluated 2N - 1 times
/// @param churn S_churn, 0 for the deterministic sampler
/// @param churnMin S_min
/// @param churnMax S_max
/// @param churnNoise S_noise
/// @param network whose levels are asked for
public record HeunSampler(
    KarrasSigmas sigmas,
    int steps,
    double churn,
    double churnMin,
    double churnMax,
    double churnNoise,
    Preconditioning network)
    implements Sampler {

  public HeunSampler {
    if (steps < 1) {
      throw new IllegalArgumentException("sampler: steps must be >= 1, got " + steps);
    }
    if (!(churn >= 0) || !(churnNoise >= 0)) {
      throw new IllegalArgumentException(
          "sampler: churn and its noise must be at least 0, got " + churn + " and " + churnNoise);
    }
  }

  /// For a network that knows every noise level.
  public HeunSampler(
      KarrasSigmas sigmas,
      int steps,
      double churn,
      double churnMin,
      double churnMax,
      double churnNoise) {
    this(sigmas, steps, churn, churnMin, churnMax, churnNoise, new Preconditioning.Edm(0.5));
  }

  /// The deterministic sampler for a network that knows every noise level.
  public static HeunSampler deterministic(KarrasSigmas sigmas, int steps) {
    return new HeunSampler(sigmas, steps, 0, 0, Double.POSITIVE_INFINITY, 1);
  }

  /// The deterministic sampler for a network.
  public static HeunSampler deterministic(KarrasSigmas sigmas, int steps, Preconditioning network) {
    return new HeunSampler(sigmas, steps, 0, 0, Double.POSITIVE_INFINITY, 1, network);
  }

  @Override
  public int evaluations() {
    return 2 * steps - 1;
  }

  @Override
  public double[] sample(double[] latents, Denoise denoise, Normals normals, Progress progress) {
    double[] t = sigmas.within(network).steps(steps, network);
    double[] x = new double[latents.length];
    for (int i = 0; i < x.length; i++) {
      x[i] = latents[i] * t[0];
    }
    for (int i = 0; i < steps; i++) {
      double gamma =
          t[i] >= churnMin && t[i] <= churnMax ? Math.min(churn / steps, Math.sqrt(2) - 1) : 0;
      double raised = gamma > 0 ? network.round(t[i] * (1 + gamma)) : t[i];
      if (gamma > 0) {
        double scale = Math.sqrt(Math.max(raised * raised - t[i] * t[i], 0)) * churnNoise;
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
    double[] denoised = denoise.at(x, Level.of(from));
    double[] slope = new double[x.length];
    double[] next = new double[x.length];
    for (int j = 0; j < x.length; j++) {
      slope[j] = (x[j] - denoised[j]) / from;
      next[j] = x[j] + (to - from) * slope[j];
    }
    if (corrected) {
      double[] again = denoise.at(next, Level.of(to));
      for (int j = 0; j < x.length; j++) {
        double second = (next[j] - again[j]) / to;
        next[j] = x[j] + (to - from) * (slope[j] + second) / 2;
      }
    }
    return next;
  }
}
