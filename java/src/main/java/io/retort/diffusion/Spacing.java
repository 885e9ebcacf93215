package io.retort.diffusion;

import java.util.Locale;

/// How K time steps are chosen out of T, descending. Source: Lin et al. 2023, table 2; rounding as
/// in the public implementations.
public enum Spacing {
  /// Multiples of `T / K` from 0: never the noisiest time step.
  LEADING,
  /// From the noisiest down in strides of `T / K`.
  TRAILING,
  /// Evenly from the noisiest to 0, both included.
  LINSPACE;

  /// The time steps; whole numbers but for LINSPACE.
  ///
  /// @throws IllegalArgumentException for one step that would start at the clean end
  double[] times(int training, int steps) {
    check(training, steps);
    if (steps == 1 && this != TRAILING) {
      throw new IllegalArgumentException(
          "sampler: a single step of %s spacing would start at the cleanest time step; take"
                  .formatted(name().toLowerCase(Locale.ROOT))
              + " trailing spacing or more steps");
    }
    double[] times = new double[steps];
    for (int i = 0; i < steps; i++) {
      times[i] =
          switch (this) {
            case LEADING -> (double) (steps - 1 - i) * (training / steps);
            case TRAILING -> Math.rint(training - i * ((double) training / steps)) - 1;
            case LINSPACE -> (steps - 1 - i) * ((training - 1) / (double) (steps - 1));
          };
    }
    return times;
  }

  /// The time steps of multistep solvers, which leave the cleanest one to the final step.
  int[] solverTimes(int training, int steps) {
    check(training, steps);
    int[] times = new int[steps];
    for (int i = 0; i < steps; i++) {
      times[i] =
          switch (this) {
            case LEADING -> (steps - i) * (training / (steps + 1));
            case TRAILING -> (int) Math.rint(training - i * ((double) training / steps)) - 1;
            case LINSPACE -> (int) Math.rint((steps - i) * ((training - 1) / (double) steps));
          };
    }
    return times;
  }

  private static void check(int training, int steps) {
    if (steps < 1 || steps > training) {
      throw new IllegalArgumentException(
          "sampler: steps must be from 1 to the %d time steps of the network, got %d"
              .formatted(training, steps));
    }
  }
}
