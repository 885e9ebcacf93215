package io.retort.diffusion;

/// How noisy a state is: `x = signal clean + noise n` with n standard normal.
///
/// EDM's states have signal 1 and noise sigma; variance preserving ones `signal^2 + noise^2 = 1`;
/// rectified flow `signal + noise = 1`. Signal 0 is pure noise (zero terminal signal-to-noise
/// ratio).
///
/// @param signal factor of the clean image, at least 0
/// @param noise standard deviation of the noise, at least 0
/// @param time what a network with discrete time steps is told, NaN where it follows from the ratio
public record Level(double signal, double noise, double time) {

  public Level {
    if (!(signal >= 0)
        || !(noise >= 0)
        || signal + noise == 0
        || Double.isInfinite(signal + noise)) {
      throw new IllegalArgumentException(
          "level: signal and noise must be finite, at least 0 and not both 0, got "
              + signal
              + " and "
              + noise);
    }
  }

  /// `x = clean + sigma n`.
  public static Level of(double sigma) {
    return new Level(1, sigma, Double.NaN);
  }

  /// The noise level of `x / signal`; infinite for pure noise.
  public double sigma() {
    return noise / signal;
  }
}
