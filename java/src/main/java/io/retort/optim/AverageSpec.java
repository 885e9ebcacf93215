package io.retort.optim;

/// An exponential moving average of weights, measured in images seen.
///
/// `decay = 0.5^(batch / min(halfLife, ramp * seen))`: short at the start, so that the average
/// forgets its beginning. Source: EDM, Karras et al. 2022, appendix F.
///
/// @param halfLife images after which old weights count half
/// @param ramp largest half-life as a fraction of the images seen, 0.05 in EDM
public record AverageSpec(double halfLife, double ramp) {

  public AverageSpec {
    if (!(halfLife > 0) || !(ramp > 0)) {
      throw new IllegalArgumentException("average: half_life and ramp must be > 0");
    }
  }

  /// Weight of the old average in one update of `batch` images after `seen` images.
  public double decay(long batch, long seen) {
    return Math.pow(0.5, batch / Math.max(Math.min(halfLife, ramp * seen), 1e-8));
  }
}
