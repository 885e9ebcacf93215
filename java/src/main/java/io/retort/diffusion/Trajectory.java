package io.retort.diffusion;

import java.util.ArrayList;
import java.util.List;

/// The levels a sampler visits: for every step where it comes from and where it goes to.
///
/// @param steps in order, the first the noisiest; the last usually ends at the clean image
/// @param start factor that makes the first state out of standard normal latents
public record Trajectory(List<Step> steps, double start) {

  /// One step. A step may start a little beside where the one before ended: with evenly spaced
  /// discrete time steps the public implementations round both ends.
  public record Step(Level from, Level to) {}

  /// Where a trajectory ends.
  static final Level CLEAN = new Level(1, 0, Double.NaN);

  public Trajectory {
    steps = List.copyOf(steps);
    if (steps.isEmpty()) {
      throw new IllegalArgumentException("sampler: steps must be >= 1, got 0");
    }
  }

  /// Every level to the next, the last to the clean image.
  static Trajectory through(List<Level> levels, double start) {
    List<Step> steps = new ArrayList<>();
    for (int i = 0; i < levels.size(); i++) {
      steps.add(new Step(levels.get(i), i + 1 < levels.size() ? levels.get(i + 1) : CLEAN));
    }
    return new Trajectory(steps, start);
  }

  /// Karras' noise levels for a network, as states `clean + sigma n`.
  public static Trajectory karras(KarrasSigmas sigmas, int steps, Preconditioning network) {
    double[] t = sigmas.within(network).steps(steps, network);
    List<Level> levels = new ArrayList<>();
    for (int i = 0; i < steps; i++) {
      levels.add(Level.of(t[i]));
    }
    return through(levels, t[0]);
  }

  /// Discrete time steps `T / K` apart, as DDIM walks them: from each of the evenly spaced ones
  /// down by that distance.
  public static Trajectory jumps(BetaSchedule schedule, int steps, Spacing spacing) {
    int distance = schedule.steps() / steps;
    List<Step> jumps = new ArrayList<>();
    for (double t : spacing.times(schedule.steps(), steps)) {
      int from = (int) Math.rint(t);
      int to = from - distance;
      jumps.add(new Step(schedule.level(from), to < 0 ? CLEAN : schedule.level(to)));
    }
    return new Trajectory(jumps, 1);
  }

  /// Discrete time steps, each to the next, as DDPM's sampler walks them.
  public static Trajectory discrete(BetaSchedule schedule, int steps, Spacing spacing) {
    List<Level> levels = new ArrayList<>();
    for (double t : spacing.times(schedule.steps(), steps)) {
      levels.add(schedule.level((int) Math.rint(t)));
    }
    return through(levels, 1);
  }

  /// The noise levels of evenly spaced time steps, between two of them interpolated, as states
  /// `clean + sigma n`.
  public static Trajectory sigmas(BetaSchedule schedule, int steps, Spacing spacing) {
    List<Level> levels = new ArrayList<>();
    for (double t : spacing.times(schedule.steps(), steps)) {
      levels.add(new Level(1, schedule.sigmaAt(t), t));
    }
    double largest = levels.getFirst().noise();
    return through(levels, spacing == Spacing.LEADING ? Math.hypot(largest, 1) : largest);
  }

  /// The levels of multistep solvers at whole time steps, as states of variance 1.
  public static Trajectory solver(BetaSchedule schedule, int steps, Spacing spacing) {
    List<Level> levels = new ArrayList<>();
    for (int t : spacing.solverTimes(schedule.steps(), steps)) {
      double sigma = schedule.sigma(t);
      double norm = Math.hypot(1, sigma);
      levels.add(new Level(1 / norm, sigma / norm, t));
    }
    return through(levels, 1);
  }

  /// Karras' noise levels over the whole range of a schedule, told as the nearest time steps, as
  /// states of variance 1.
  public static Trajectory solverKarras(BetaSchedule schedule, int steps, double rho) {
    KarrasSigmas sigmas =
        new KarrasSigmas(schedule.sigma(0), schedule.sigma(schedule.steps() - 1), rho);
    double[] t = sigmas.steps(steps);
    List<Level> levels = new ArrayList<>();
    for (int i = 0; i < steps; i++) {
      levels.add(schedule.nearest(t[i]));
    }
    return through(levels, 1);
  }

  /// Rectified flow: t evenly from 1 down, pushed towards noise by `shift`. Source: Esser et al.
  /// 2024, section 5.3.2.
  ///
  /// @param shift 1 for even steps; 3 for large images
  /// @param resolution number of times the training distinguished, 1000: the last step starts at
  ///   one of them
  public static Trajectory flow(int steps, double shift, int resolution) {
    double least = shifted(1.0 / resolution, shift);
    List<Level> levels = new ArrayList<>();
    for (int i = 0; i < steps; i++) {
      double t = steps == 1 ? 1 : 1 + (least - 1) * i / (steps - 1);
      double pushed = shifted(t, shift);
      levels.add(new Level(1 - pushed, pushed, Double.NaN));
    }
    return through(levels, 1);
  }

  private static double shifted(double t, double shift) {
    return shift * t / (1 + (shift - 1) * t);
  }

  /// The same noise levels as states of variance 1 for data of variance 1.
  public Trajectory variancePreserving() {
    List<Step> scaled =
        steps.stream().map(step -> new Step(unit(step.from()), unit(step.to()))).toList();
    Level first = steps.getFirst().from();
    return new Trajectory(scaled, start / Math.hypot(first.signal(), first.noise()));
  }

  private static Level unit(Level level) {
    double norm = Math.hypot(level.signal(), level.noise());
    return new Level(level.signal() / norm, level.noise() / norm, level.time());
  }

  /// The first state.
  double[] first(double[] latents) {
    double[] x = new double[latents.length];
    for (int i = 0; i < x.length; i++) {
      x[i] = latents[i] * start;
    }
    return x;
  }
}
