package io.retort.diffusion;

import java.util.Arrays;

/// How a network is wrapped into a denoiser: `D(x; sigma) = c_skip x + c_out F(c_in x, c_noise)`.
///
/// All four families of EDM's table 1, in float64. Source: EDM, Karras et al. 2022, table 1 and
/// appendix C.
public sealed interface Preconditioning {

  /// Factor of the noised image in the output.
  double skip(double sigma);

  /// Factor of the network's output.
  double out(double sigma);

  /// Factor of the noised image in the network's input.
  double in(double sigma);

  /// What the network is told about the noise level.
  double noise(double sigma);

  /// The level the network can be asked for that is nearest to `sigma`.
  default double round(double sigma) {
    return sigma;
  }

  /// EDM's own: unit variance in and out, errors not amplified.
  record Edm(double sigmaData) implements Preconditioning {
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
  record Vp(double betaD, double betaMin, int steps) implements Preconditioning {
    public static final Vp DEFAULT = new Vp(19.9, 0.1, 1000);

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
  record Ve() implements Preconditioning {
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
  ///
  /// @param c1 largest ratio of neighbouring signal levels kept, 0.001
  /// @param c2 offset of the cosine, 0.008
  /// @param steps M, 1000
  record Iddpm(double c1, double c2, int steps) implements Preconditioning {
    public static final Iddpm DEFAULT = new Iddpm(0.001, 0.008, 1000);

    /// The `steps + 1` levels, descending from index 0; in float32 arithmetic, because the networks
    /// were trained with levels rounded so (the smallest differ by 5e-4 from exact ones).
    public double[] levels() {
      double[] u = new double[steps + 1];
      for (int j = steps; j > 0; j--) {
        float ratio = Math.max(signal(j - 1) / signal(j), (float) c1);
        float before = (float) u[j];
        u[j - 1] = (float) Math.sqrt((before * before + 1) / ratio - 1);
      }
      return u;
    }

    private float signal(int j) {
      float angle = (float) (0.5 * Math.PI) * j / steps / (float) (c2 + 1);
      float sine = (float) Math.sin(angle);
      return sine * sine;
    }

    /// Index of the level nearest to `sigma`.
    public int index(double sigma) {
      double[] u = levels();
      int best = 0;
      for (int j = 1; j < u.length; j++) {
        best = Math.abs(sigma - u[j]) < Math.abs(sigma - u[best]) ? j : best;
      }
      return best;
    }

    @Override
    public double round(double sigma) {
      return levels()[index(sigma)];
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
      return steps - 1 - index(sigma);
    }

    /// Smallest and largest level a sampler may ask for.
    public double[] range() {
      double[] u = levels();
      return new double[] {u[steps - 1], Arrays.stream(u).max().orElseThrow()};
    }
  }
}
