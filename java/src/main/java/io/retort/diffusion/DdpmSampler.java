package io.retort.diffusion;

/// DDPM's ancestral sampling: a draw from the posterior of the next state given this one and the
/// network's estimate of the clean image.
///
/// Mean `a' clean + r (s' / s) (x - a clean)` and variance `s'^2 (1 - r^2)` with `r = s' a / (s
/// a')`, or the forward step's variance `s^2 - (s' a / a')^2`. Source: Ho et al. 2020, eq. 7.
///
/// @param trajectory the levels
/// @param clip whether the estimate of the clean image is cut to [-1, 1]
/// @param large whether the variance is that of the forward step (`fixed_large`)
public record DdpmSampler(Trajectory trajectory, boolean clip, boolean large) implements Sampler {

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
      double keep = ratio * to.noise() / from.noise();
      double variance =
          large
              ? from.noise() * from.noise() - Math.pow(to.noise() * from.signal() / to.signal(), 2)
              : to.noise() * to.noise() * (1 - ratio * ratio);
      double std = to.noise() > 0 ? Math.sqrt(Math.max(variance, 0)) : 0;
      double[] clean = denoise.at(x, from);
      double[] normal = std > 0 ? normals.next(i) : new double[x.length];
      for (int j = 0; j < x.length; j++) {
        double image = clip ? Math.clamp(clean[j], -1, 1) : clean[j];
        x[j] = to.signal() * image + keep * (x[j] - from.signal() * image) + std * normal[j];
      }
      progress.done(i + 1, x);
    }
    return x;
  }
}
