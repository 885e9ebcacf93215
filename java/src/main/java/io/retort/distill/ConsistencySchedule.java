package io.retort.distill;

import io.retort.diffusion.KarrasSigmas;
import io.retort.distill.ConsistencyModel.Curve;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;

/// Which two noise levels a consistency model compares, with which weight, and how fast its target
/// follows.
///
/// Sources: CM, Song et al. 2023 (arXiv 2303.01469), algorithms 2 and 3 and section 5; iCT, Song &
/// Dhariwal 2023 (arXiv 2310.14189), table 1; ECT, Geng et al. 2024 (arXiv 2406.14548), section 3.
///
/// @param curve how levels are found
/// @param levels N of the fixed grid, and the last N of the growing ones (s1)
/// @param firstLevels the first N of the growing grids (s0)
/// @param decay of the target: mu of the fixed grid, mu0 of CT's; 0 takes the student itself
/// @param meanLog mean of ln sigma of ICT and ECM
/// @param stdLog its standard deviation
/// @param ratio q of ECM: the smaller level begins at `1 - 1/q` of the larger one, or nearer
/// @param stages of ECM over the run: in stage s the smaller level is near `1 - 1/q^(s+1)` of the
///   larger one
/// @param steps length of the run
record ConsistencySchedule(
    Curve curve,
    int levels,
    int firstLevels,
    double decay,
    double meanLog,
    double stdLog,
    double ratio,
    int stages,
    long steps) {
  private static final double ECM_SLOPE = 8;

  /// Levels of a batch.
  ///
  /// @param high larger level per sample
  /// @param low smaller one, 0 or the smallest level where the target is the sample itself
  /// @param weight of each sample
  record Levels(double[] high, double[] low, double[] weight) {}

  /// N at a step: how many levels the grid has.
  int levelsAt(long step) {
    double done = step / (double) steps;
    return switch (curve) {
      case FIXED, ECM -> levels;
      case CT -> {
        double first = firstLevels;
        double squared = done * ((levels + 1.0) * (levels + 1.0) - first * first) + first * first;
        yield (int) Math.ceil(Math.sqrt(squared) - 1) + 1;
      }
      case ICT -> {
        double doublings = Math.log(Math.floor(levels / (double) firstLevels)) / Math.log(2) + 1;
        long each = Math.max(1, (long) Math.floor(steps / doublings));
        yield (int) Math.min(firstLevels * Math.pow(2, step / each), levels) + 1;
      }
    };
  }

  /// mu at a step: what the target keeps of itself.
  double decayAt(long step) {
    return curve == Curve.CT && decay > 0
        ? Math.exp(firstLevels * Math.log(decay) / levelsAt(step))
        : decay;
  }

  /// Whether the target has weights of its own.
  boolean hasTarget() {
    return decay > 0;
  }

  /// Draws the levels of a step.
  ///
  /// @param sigmas what the networks can be asked for
  Levels draw(int count, KarrasSigmas sigmas, Noise noise) {
    PhiloxKey key = noise.key(Purpose.TIME);
    Levels drawn = new Levels(new double[count], new double[count], new double[count]);
    int grid = levelsAt(noise.step());
    for (int i = 0; i < count; i++) {
      switch (curve) {
        case FIXED, CT ->
            neighbours(drawn, i, (int) (Philox.uniform(key, i) * (grid - 1)), sigmas, grid, 1);
        case ICT -> {
          double log = logNormal(key, i, count, sigmas.min(), sigmas.max());
          neighbours(drawn, i, below(Math.exp(log), sigmas, grid), sigmas, grid, 0);
        }
        case ECM -> {
          double high = Math.exp(logNormal(key, i, count, sigmas.min(), sigmas.max()));
          double stage = Math.min(stages - 1, Math.floor(noise.step() * stages / (double) steps));
          double nearness = (1 + ECM_SLOPE / (1 + Math.exp(high))) / Math.pow(ratio, stage + 1);
          drawn.high[i] = high;
          drawn.low[i] = Math.max(0, high * (1 - nearness));
          drawn.weight[i] = 1 / (drawn.high[i] - drawn.low[i]);
        }
      }
    }
    return drawn;
  }

  /// Levels `index` and `index + 1` of an ascending grid.
  ///
  /// @param constant the weight, 0 for the inverse of their distance
  private static void neighbours(
      Levels drawn, int i, int index, KarrasSigmas sigmas, int grid, double constant) {
    drawn.low[i] = sigmas.bin(index, grid);
    drawn.high[i] = sigmas.bin(index + 1, grid);
    drawn.weight[i] = constant > 0 ? constant : 1 / (drawn.high[i] - drawn.low[i]);
  }

  /// A number of a normal distribution that lies between the logarithms of two levels: the first
  /// draw that does.
  private double logNormal(PhiloxKey key, int i, int count, double low, double high) {
    for (long draw = 0; ; draw++) {
      double log = meanLog + stdLog * Philox.normal(key, i + draw * count);
      if (log >= Math.log(low) && log < Math.log(high)) {
        return log;
      }
    }
  }

  /// The index of the grid's largest level that is not above `sigma`, short of its last.
  private static int below(double sigma, KarrasSigmas sigmas, int grid) {
    int index = 0;
    while (index + 2 < grid && sigmas.bin(index + 1, grid) <= sigma) {
      index++;
    }
    return index;
  }
}
