package io.retort.diffusion;

import java.util.Objects;
import org.jspecify.annotations.Nullable;

/// Signal levels `alpha_bar_t = prod (1 - beta_s)` of T discrete time steps: `x_t =
/// sqrt(alpha_bar_t) clean + sqrt(1 - alpha_bar_t) n`.
///
/// In float32 where the public implementations use it, because the networks were trained with
/// levels rounded so (`1 - alpha_bar_0` differs by 2e-4 from the exact one). Sources: DDPM, Ho et
/// al. 2020; cosine: Nichol & Dhariwal 2021, eq. 17; zero terminal signal: Lin et al. 2023,
/// algorithm 1.
public final class BetaSchedule {

  /// How beta grows.
  public enum Kind {
    /// Evenly from start to end.
    LINEAR,
    /// Its root evenly from start to end.
    SCALED_LINEAR,
    /// So that alpha_bar follows a squared cosine; start and end do not matter.
    COSINE
  }

  private static final double COSINE_OFFSET = 0.008;
  private static final double LARGEST_BETA = 0.999;
  private static final float LEAST_SIGNAL = 0x1p-24f;
  private static final double SNAP = 1e-3;

  private final Kind kind;
  private final double start;
  private final double end;
  private final boolean zeroTerminal;
  private final float[] betas;
  private final float[] alphaBars;
  private final double[] logSigmas;

  /// @param kind how beta grows
  /// @param start beta of the first step, 1e-4 in DDPM
  /// @param end beta of the last step, 0.02 in DDPM
  /// @param steps T, 1000 in DDPM
  /// @param zeroTerminal whether the levels are rescaled so that the last has no signal
  public BetaSchedule(Kind kind, double start, double end, int steps, boolean zeroTerminal) {
    if (steps < 2 || !(start > 0) || !(end >= start) || !(end < 1)) {
      throw new IllegalArgumentException(
          "schedule: 0 < beta_start <= beta_end < 1 and at least 2 time steps must hold, got "
              + start
              + ", "
              + end
              + ", "
              + steps);
    }
    this.kind = kind;
    this.start = start;
    this.end = end;
    this.zeroTerminal = zeroTerminal;
    float[] grown = grow(kind, start, end, steps);
    betas = zeroTerminal ? withoutTerminalSignal(grown) : grown;
    alphaBars = products(betas);
    logSigmas = new double[steps];
    for (int t = 0; t < steps; t++) {
      logSigmas[t] = Math.log(sigma(t));
    }
  }

  /// DDPM's own: beta from 1e-4 to 0.02 in 1000 steps.
  public static BetaSchedule ddpm() {
    return new BetaSchedule(Kind.LINEAR, 1e-4, 0.02, 1000, false);
  }

  private static float[] grow(Kind kind, double start, double end, int steps) {
    return switch (kind) {
      case LINEAR -> line(start, end, steps);
      case SCALED_LINEAR -> {
        float[] roots = line(Math.sqrt(start), Math.sqrt(end), steps);
        for (int t = 0; t < steps; t++) {
          roots[t] *= roots[t];
        }
        yield roots;
      }
      case COSINE -> {
        float[] betas = new float[steps];
        for (int t = 0; t < steps; t++) {
          double ratio = cosine((t + 1.0) / steps) / cosine((double) t / steps);
          betas[t] = (float) Math.min(1 - ratio, LARGEST_BETA);
        }
        yield betas;
      }
    };
  }

  private static double cosine(double fraction) {
    double root = Math.cos((fraction + COSINE_OFFSET) / (1 + COSINE_OFFSET) * Math.PI / 2);
    return root * root;
  }

  /// Evenly spaced, each half counted from its own end.
  private static float[] line(double first, double last, int count) {
    float low = (float) first;
    float high = (float) last;
    float step = (high - low) / (count - 1);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = i < count / 2 ? low + step * i : high - step * (count - 1 - i);
    }
    return values;
  }

  private static float[] products(float[] betas) {
    float[] bars = new float[betas.length];
    double product = 1;
    for (int t = 0; t < bars.length; t++) {
      product *= 1 - betas[t];
      bars[t] = (float) product;
    }
    return bars;
  }

  private static float[] withoutTerminalSignal(float[] grown) {
    float[] roots = products(grown);
    for (int t = 0; t < roots.length; t++) {
      roots[t] = (float) Math.sqrt(roots[t]);
    }
    float last = roots[roots.length - 1];
    float stretch = roots[0] / (roots[0] - last);
    float[] rescaled = new float[roots.length];
    float before = 1;
    for (int t = 0; t < roots.length; t++) {
      float root = (roots[t] - last) * stretch;
      float bar = root * root;
      rescaled[t] = 1 - bar / before;
      before = bar;
    }
    return rescaled;
  }

  public Kind kind() {
    return kind;
  }

  public double start() {
    return start;
  }

  public double end() {
    return end;
  }

  public boolean zeroTerminal() {
    return zeroTerminal;
  }

  /// T, the number of time steps.
  public int steps() {
    return betas.length;
  }

  /// How near a time must be to a whole step to be that step.
  public double snap() {
    return SNAP;
  }

  /// alpha_bar of time step t; 1 before the first.
  public double alphaBar(int t) {
    return t < 0 ? 1 : alphaBars[t];
  }

  /// The state of time step t.
  public Level level(int t) {
    float bar = (float) alphaBar(t);
    return new Level((float) Math.sqrt(bar), (float) Math.sqrt(1 - bar), t);
  }

  /// Noise level of `x_t / sqrt(alpha_bar_t)`; where there is no signal at all, that of alpha_bar =
  /// 2^-24.
  public double sigma(int t) {
    float bar = alphaBars[t] == 0 ? LEAST_SIGNAL : alphaBars[t];
    return (float) Math.sqrt((1 - bar) / bar);
  }

  /// Noise level of a time, between two time steps interpolated linearly.
  double sigmaAt(double time) {
    int low = Math.clamp((long) Math.floor(time), 0, steps() - 1);
    int high = Math.min(low + 1, steps() - 1);
    return sigma(low) + (time - low) * (sigma(high) - sigma(low));
  }

  /// The state of noise level sigma with variance 1, at the whole time step nearest to it.
  Level nearest(double sigma) {
    double norm = Math.hypot(1, sigma);
    return new Level(1 / norm, sigma / norm, Math.rint(time(sigma)));
  }

  /// The time step of a noise level, between two steps interpolated along ln sigma, at the ends the
  /// end; a level within rounding of a step's is that step.
  public double time(double sigma) {
    double log = Math.log(sigma);
    int last = steps() - 1;
    if (log <= logSigmas[0]) {
      return 0;
    }
    if (log >= logSigmas[last]) {
      return last;
    }
    int low = 0;
    int high = last;
    while (high - low > 1) {
      int middle = (low + high) >>> 1;
      if (logSigmas[middle] <= log) {
        low = middle;
      } else {
        high = middle;
      }
    }
    double time = low + (log - logSigmas[low]) / (logSigmas[high] - logSigmas[low]);
    return Math.abs(time - Math.rint(time)) < SNAP ? Math.rint(time) : time;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof BetaSchedule that
        && kind == that.kind
        && start == that.start
        && end == that.end
        && zeroTerminal == that.zeroTerminal
        && steps() == that.steps();
  }

  @Override
  public int hashCode() {
    return Objects.hash(kind, start, end, zeroTerminal, steps());
  }

  @Override
  public String toString() {
    return "BetaSchedule[%s, %s to %s, %d steps%s]"
        .formatted(kind, start, end, steps(), zeroTerminal ? ", zero terminal" : "");
  }
}
