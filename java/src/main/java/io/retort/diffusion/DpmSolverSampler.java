package io.retort.diffusion;

import org.jspecify.annotations.Nullable;

/// DPM-Solver++(2M): second-order multistep in the half log signal-to-noise ratio, one evaluation a
/// step.
///
/// With `lambda = ln(a / s)` and `h = lambda' - lambda`: `x' = s' / s x - a' (e^-h - 1) D`, where D
/// is the estimate of the clean image extrapolated from the last two; the first and last step are
/// first order. Source: Lu et al. 2022 (DPM-Solver++), algorithm 2.
///
/// @param trajectory the levels
public record DpmSolverSampler(Trajectory trajectory) implements Sampler {

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
    double @Nullable [] before = null;
    double lastStride = 0;
    for (int i = 0; i < steps(); i++) {
      Level from = trajectory.steps().get(i).from();
      Level to = trajectory.steps().get(i).to();
      double stride = Math.log(from.sigma()) - Math.log(to.sigma());
      double[] clean = denoise.at(x, from);
      boolean second = before != null && i + 1 < steps() && lastStride > 0;
      double weight = second ? stride / (2 * lastStride) : 0;
      double[] earlier = before == null ? clean : before;
      // -(e^-h - 1) is 1 where the step ends at the clean image
      double gain = -Math.expm1(-stride);
      for (int j = 0; j < x.length; j++) {
        double extrapolated = clean[j] + weight * (clean[j] - earlier[j]);
        x[j] = to.noise() / from.noise() * x[j] + to.signal() * gain * extrapolated;
      }
      before = clean;
      lastStride = stride;
      progress.done(i + 1, x);
    }
    return x;
  }
}
