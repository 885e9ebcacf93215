package io.retort.diffusion;

/// EDM's noise levels between `min` and `max`: evenly spaced in `sigma^(1/rho)`.
///
/// Source: EDM, eq. 5; DMD and DMD2 index the same curve with 1000 ascending bins.
///
/// @param min smallest level, 0.002 in EDM
/// @param max largest level, 80 in EDM
/// @param rho exponent, 7 in EDM
public record KarrasSigmas(double min, double max, double rho) {

  /// EDM's defaults.
  public static final KarrasSigmas EDM = new KarrasSigmas(0.002, 80, 7);

  public KarrasSigmas {
    if (!(min > 0) || !(max > min) || !(rho > 0)) {
      throw new IllegalArgumentException(
          "sigmas: 0 < min < max and rho > 0 must hold, got " + min + ", " + max + ", " + rho);
    }
  }

  /// The level at `fraction` of the way from max (0) to min (1).
  public double at(double fraction) {
    double high = Math.pow(max, 1 / rho);
    double low = Math.pow(min, 1 / rho);
    return Math.pow(high + fraction * (low - high), rho);
  }

  /// Sampling steps, descending from max to min, then 0: `steps + 1` numbers. One step is `[max,
  /// 0]`.
  public double[] steps(int steps) {
    if (steps < 1) {
      throw new IllegalArgumentException("sigmas: steps must be >= 1, got " + steps);
    }
    double[] sigmas = new double[steps + 1];
    for (int i = 0; i < steps; i++) {
      sigmas[i] = at(steps == 1 ? 0 : i / (double) (steps - 1));
    }
    return sigmas;
  }

  /// The part of these levels that a network can be asked for.
  ///
  /// @throws IllegalArgumentException if there is none
  public KarrasSigmas within(Preconditioning network) {
    return new KarrasSigmas(Math.max(min, network.min()), Math.min(max, network.max()), rho);
  }

  /// Sampling steps, each rounded to the nearest level the network knows.
  double[] steps(int steps, Preconditioning network) {
    double[] sigmas = steps(steps);
    for (int i = 0; i < steps; i++) {
      sigmas[i] = network.round(sigmas[i]);
    }
    return sigmas;
  }

  /// Level `j` of `bins` ascending ones: 0 is min, `bins - 1` is max.
  public double bin(int j, int bins) {
    return at(1 - j / (double) (bins - 1));
  }
}
