package io.retort.diffusion;

import java.util.ArrayList;
import java.util.List;

/// Multistep consistency sampling: jump to the clean image, add noise again, jump again.
///
/// The jump is `c_out D + c_skip x`. For networks with discrete time steps:
///
/// `c_skip = 1 / (1 + 4 (S t)^2)`, so that time step 0 changes nothing; for others the jump is D.
///
/// Sources: Song et al. 2023, algorithm 1; latent consistency models, Luo et al. 2023, algorithm 3.
///
/// @param trajectory the levels
/// @param timeScale S, 10 in latent consistency models
public record LcmSampler(Trajectory trajectory, double timeScale) implements Sampler {
  private static final double SIGMA_DATA = 0.5;

  /// The time steps of a network that was distilled on every `T / original`-th: `steps` of them.
  ///
  /// @param original number of time steps the distillation used, 50 in latent consistency models
  public static LcmSampler of(BetaSchedule schedule, int steps, int original, double timeScale) {
    if (original < 1 || original > schedule.steps() || steps < 1 || steps > original) {
      throw new IllegalArgumentException(
          "sampler: steps must be from 1 to the %d time steps of the distillation, got %d"
              .formatted(original, steps));
    }
    int stride = schedule.steps() / original;
    List<Level> levels = new ArrayList<>();
    for (int i = 0; i < steps; i++) {
      int index = (int) ((long) i * original / steps);
      levels.add(schedule.level((original - index) * stride - 1));
    }
    return new LcmSampler(Trajectory.through(levels, 1), timeScale);
  }

  /// Students of few steps for states `clean + sigma n`: the jump is D.
  ///
  /// @param sigmas descending, each above 0
  public static LcmSampler of(List<Double> sigmas) {
    if (sigmas.stream().anyMatch(sigma -> !(sigma > 0))) {
      throw new IllegalArgumentException("sampler: levels must be above 0, got " + sigmas);
    }
    List<Level> levels = sigmas.stream().map(Level::of).toList();
    double start = levels.isEmpty() ? 1 : levels.getFirst().noise();
    return new LcmSampler(Trajectory.through(levels, start), 1);
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
      double scaled = timeScale * from.time();
      double skip =
          Double.isNaN(scaled)
              ? 0
              : SIGMA_DATA * SIGMA_DATA / (scaled * scaled + SIGMA_DATA * SIGMA_DATA);
      double out = Double.isNaN(scaled) ? 1 : scaled / Math.hypot(scaled, SIGMA_DATA);
      double[] clean = denoise.at(x, from);
      double[] normal = to.noise() > 0 ? normals.next(i) : new double[x.length];
      for (int j = 0; j < x.length; j++) {
        x[j] = to.signal() * (out * clean[j] + skip * x[j]) + to.noise() * normal[j];
      }
      progress.done(i + 1, x);
    }
    return x;
  }
}
