package io.retort.diffusion;

import java.util.Objects;
import org.jspecify.annotations.Nullable;

/// How a network is wrapped into a denoiser: `D(x; sigma) = c_skip x + c_out F(c_in x, c_noise)`.
///
/// In float64: the four families of EDM's table 1, networks with discrete time steps that predict
/// noise, image or velocity, and rectified flow. Source: EDM, Karras et al. 2022, table 1 and
/// appendix C.
public sealed interface Preconditioning {

  /// The four factors of one sample, for a state `signal clean + noise n`.
  ///
  /// @param skip factor of the state in the output
  /// @param out factor of the network's output
  /// @param in factor of the state in the network's input
  /// @param noise what the network is told
  record Coefficients(double skip, double out, double in, double noise) {}

  /// The factors at a level.
  ///
  /// @throws IllegalArgumentException for pure noise (signal 0), if the network cannot denoise it
  default Coefficients at(Level level) {
    if (level.signal() == 0) {
      throw new IllegalArgumentException(
          "denoise: a state without signal needs a network that predicts v, the image or a flow,"
              + " got "
              + getClass().getSimpleName());
    }
    double sigma = level.sigma();
    double told = Double.isNaN(level.time()) ? noise(sigma) : level.time();
    return new Coefficients(
        skip(sigma) / level.signal(), out(sigma), in(sigma) / level.signal(), told);
  }

  /// Factor of the noised image in the output.
  double skip(double sigma);

  /// Factor of the network's output.
  double out(double sigma);

  /// Factor of the noised image in the network's input.
  double in(double sigma);

  /// What the network is told about the noise level.
  double noise(double sigma);

  /// Smallest noise level the network can be asked for; samplers do not go below.
  default double min() {
    return 0;
  }

  /// Largest noise level the network can be asked for; samplers do not start above.
  default double max() {
    return Double.POSITIVE_INFINITY;
  }

  /// The level the network can be asked for that is nearest to `sigma`.
  default double round(double sigma) {
    return sigma;
  }

  /// Where a sampler that wants to start at `sigma` does.
  default double start(double sigma) {
    return round(Math.min(sigma, max()));
  }

  /// EDM's own: unit variance in and out, errors not amplified.
  ///
  /// @param sigmaData standard deviation of the data
  /// @param min smallest level
  /// @param max largest level
  record Edm(double sigmaData, double min, double max) implements Preconditioning {

    /// For every noise level.
    public Edm(double sigmaData) {
      this(sigmaData, 0, Double.POSITIVE_INFINITY);
    }

    @Override
    public double skip(double sigma) {
      return sigmaData * sigmaData / (sigma * sigma + sigmaData * sigmaData);
    }

    @Override
    public double out(double sigma) {
      return sigma * sigmaData / Math.hypot(sigma, sigmaData);
    }

    @Override
    public double in(double sigma) {
      return 1 / Math.hypot(sigma, sigmaData);
    }

    @Override
    public double noise(double sigma) {
      return Math.log(sigma) / 4;
    }
  }

  /// Variance preserving (DDPM, DDPM++): the network predicts noise, time runs in `steps` units.
  ///
  /// @param betaD slope of the noise schedule, 19.9
  /// @param betaMin its start, 0.1
  /// @param steps M, 1000
  /// @param start smallest time, 1e-5
  record Vp(double betaD, double betaMin, int steps, double start) implements Preconditioning {
    public static final Vp DEFAULT = new Vp(19.9, 0.1, 1000, 1e-5);

    @Override
    public double min() {
      return sigma(start);
    }

    @Override
    public double max() {
      return sigma(1);
    }

    /// Noise level at time t in [0, 1].
    public double sigma(double t) {
      return Math.sqrt(Math.expm1(0.5 * betaD * t * t + betaMin * t));
    }

    /// Time of a noise level.
    public double time(double sigma) {
      return (Math.sqrt(betaMin * betaMin + 2 * betaD * Math.log1p(sigma * sigma)) - betaMin)
          / betaD;
    }

    @Override
    public double skip(double sigma) {
      return 1;
    }

    @Override
    public double out(double sigma) {
      return -sigma;
    }

    @Override
    public double in(double sigma) {
      return 1 / Math.hypot(sigma, 1);
    }

    @Override
    public double noise(double sigma) {
      return (steps - 1) * time(sigma);
    }
  }

  /// Variance exploding (NCSN++).
  ///
  /// @param min smallest level, 0.02
  /// @param max largest level, 100
  record Ve(double min, double max) implements Preconditioning {

    public Ve() {
      this(0.02, 100);
    }

    @Override
    public double skip(double sigma) {
      return 1;
    }

    @Override
    public double out(double sigma) {
      return sigma;
    }

    @Override
    public double in(double sigma) {
      return 1;
    }

    @Override
    public double noise(double sigma) {
      return Math.log(0.5 * sigma);
    }
  }

  /// Improved DDPM and ADM: discrete levels `u_0 > ... > u_M = 0` of a cosine schedule.
  final class Iddpm implements Preconditioning {
    public static final Iddpm DEFAULT = new Iddpm(0.001, 0.008, 1000);

    private final double c1;
    private final double c2;
    private final double[] levels;

    /// @param c1 largest ratio of neighbouring signal levels kept, 0.001
    /// @param c2 offset of the cosine, 0.008
    /// @param steps M, 1000
    public Iddpm(double c1, double c2, int steps) {
      this.c1 = c1;
      this.c2 = c2;
      levels = new double[steps + 1];
      for (int j = steps; j > 0; j--) {
        float ratio = Math.max(signal(j - 1) / signal(j), (float) c1);
        float before = (float) levels[j];
        levels[j - 1] = (float) Math.sqrt((before * before + 1) / ratio - 1);
      }
    }

    private float signal(int j) {
      float angle = (float) (0.5 * Math.PI) * j / steps() / (float) (c2 + 1);
      float sine = (float) Math.sin(angle);
      return sine * sine;
    }

    public double c1() {
      return c1;
    }

    public double c2() {
      return c2;
    }

    /// M, the number of levels above 0.
    public int steps() {
      return levels.length - 1;
    }

    /// The `steps + 1` levels, descending from index 0; in float32 arithmetic, because the networks
    /// were trained with levels rounded so (the smallest differ by 5e-4 from exact ones).
    public double[] levels() {
      return levels.clone();
    }

    @Override
    public double min() {
      return levels[steps() - 1];
    }

    @Override
    public double max() {
      return levels[0];
    }

    /// Index of the level nearest to `sigma`.
    public int index(double sigma) {
      int low = 0;
      int high = steps();
      while (high - low > 1) {
        int middle = (low + high) >>> 1;
        if (levels[middle] >= sigma) {
          low = middle;
        } else {
          high = middle;
        }
      }
      return Math.abs(sigma - levels[high]) < Math.abs(sigma - levels[low]) ? high : low;
    }

    @Override
    public double round(double sigma) {
      return levels[index(sigma)];
    }

    @Override
    public double skip(double sigma) {
      return 1;
    }

    @Override
    public double out(double sigma) {
      return -sigma;
    }

    @Override
    public double in(double sigma) {
      return 1 / Math.hypot(sigma, 1);
    }

    @Override
    public double noise(double sigma) {
      return steps() - 1 - index(sigma);
    }

    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof Iddpm that
          && c1 == that.c1
          && c2 == that.c2
          && steps() == that.steps();
    }

    @Override
    public int hashCode() {
      return Objects.hash(c1, c2, steps());
    }

    @Override
    public String toString() {
      return "Iddpm[c1=%s, c2=%s, steps=%d]".formatted(c1, c2, steps());
    }
  }

  /// A network trained on the discrete time steps of a beta schedule (DDPM, diffusers): its input
  /// has variance 1, and it is told the time step, which for levels in between is interpolated
  /// along ln sigma.
  ///
  /// @param schedule signal level of each time step
  /// @param prediction what the network predicts
  record Discrete(BetaSchedule schedule, Prediction prediction) implements Preconditioning {

    /// What a network predicts of `x = a clean + s n`.
    public enum Prediction {
      /// The noise n.
      EPSILON,
      /// The clean image.
      SAMPLE,
      /// `a n - s clean`. Source: Salimans & Ho 2022, appendix D.
      V
    }

    @Override
    public Coefficients at(Level level) {
      double a = level.signal();
      double s = level.noise();
      double norm = Math.hypot(a, s);
      double told = Double.isNaN(level.time()) ? noise(level.sigma()) : level.time();
      return switch (prediction) {
        case EPSILON ->
            a == 0
                ? Preconditioning.super.at(level)
                : new Coefficients(1 / a, -s / a, 1 / norm, told);
        case SAMPLE -> new Coefficients(0, 1, 1 / norm, told);
        case V -> new Coefficients(a / (norm * norm), -s / norm, 1 / norm, told);
      };
    }

    @Override
    public double min() {
      return schedule.sigma(0);
    }

    /// 4096 where the last time step has no signal: it counts as `alpha_bar = 2^-24`.
    @Override
    public double max() {
      return schedule.sigma(schedule.steps() - 1);
    }

    @Override
    public double skip(double sigma) {
      return at(new Level(1, sigma, 0)).skip();
    }

    @Override
    public double out(double sigma) {
      return at(new Level(1, sigma, 0)).out();
    }

    @Override
    public double in(double sigma) {
      return 1 / Math.hypot(sigma, 1);
    }

    @Override
    public double noise(double sigma) {
      return schedule.time(sigma);
    }
  }

  /// Rectified flow, flow matching: on the line `(1 - t) clean + t n` the network predicts the
  /// velocity `n - clean`. `sigma = t / (1 - t)`. Source: Liu et al. 2022; Lipman et al. 2022.
  ///
  /// @param timeScale the network is told `timeScale t`: 1, or 1000 in diffusers
  record Flow(double timeScale) implements Preconditioning {

    @Override
    public Coefficients at(Level level) {
      double length = level.signal() + level.noise();
      double t = level.noise() / length;
      double told = Double.isNaN(level.time()) ? timeScale * t : level.time();
      return new Coefficients(1 / length, -t, 1 / length, told);
    }

    @Override
    public double skip(double sigma) {
      return 1 / (1 + sigma);
    }

    @Override
    public double out(double sigma) {
      return -sigma / (1 + sigma);
    }

    @Override
    public double in(double sigma) {
      return 1 / (1 + sigma);
    }

    @Override
    public double noise(double sigma) {
      return timeScale * sigma / (1 + sigma);
    }
  }
}
