package io.retort.diffusion;

/// DDIM: `x' = a' clean + sqrt(s'^2 - u^2) eps + u n` with the network's estimates of the clean
/// image and the noise, `u = eta s' sqrt(1 - (s' a / (s a'))^2)`.
///
/// With eta 0 it is Euler's method: on states `clean + sigma n` that of EDM's ODE, on the states of
/// rectified flow the flow's. Source: Song et al. 2021 (DDIM), eq. 12 and 16.
///
/// @param trajectory the levels
/// @param eta 0 deterministic, 1 as much noise as DDPM
/// @param clip whether the estimate of the clean image is cut to [-1, 1]
public record DdimSampler(Trajectory trajectory, double eta, boolean clip) implements Sampler {

  public DdimSampler {
    if (!(eta >= 0 && eta <= 1)) {
      throw new IllegalArgumentException("sampler: eta must be in [0, 1], got " + eta);
    }
  }

  /// Euler's method.
  public static DdimSampler euler(Trajectory trajectory) {
    return new DdimSampler(trajectory, 0, false);
  }

  @Override
  public int steps() {
    return trajectory.steps().size();
  }

  @Override
  public int evaluations() {
    return steps();
  }

  @Override
  public double[] sample(double[] latents, Denoise denoise, Normals normals, Progress progress) {
    double[] x = trajectory.first(latents);
    for (int i = 0; i < steps(); i++) {
      Level from = trajectory.steps().get(i).from();
      Level to = trajectory.steps().get(i).to();
      double ratio = to.noise() * from.signal() / (from.noise() * to.signal());
      double fresh = eta * to.noise() * Math.sqrt(Math.max(1 - ratio * ratio, 0));
      double kept = Math.sqrt(Math.max(to.noise() * to.noise() - fresh * fresh, 0));
      double[] clean = denoise.at(x, from);
      double[] normal = fresh > 0 ? normals.next(i) : new double[x.length];
      for (int j = 0; j < x.length; j++) {
        double eps = (x[j] - from.signal() * clean[j]) / from.noise();
        double image = clip ? Math.clamp(clean[j], -1, 1) : clean[j];
        x[j] = to.signal() * image + kept * eps + fresh * normal[j];
      }
      progress.done(i + 1, x);
    }
    return x;
  }
}
