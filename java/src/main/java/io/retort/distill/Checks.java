package io.retort.distill;

/// Refusals that the numbers of several methods share; the sentences name recipe keys.
final class Checks {

  private Checks() {}

  static void require(boolean fact, String sentence) {
    if (!fact) {
      throw new IllegalArgumentException(sentence);
    }
  }

  static void teacher(String teacher) {
    require(!teacher.isBlank(), "teacher must be builtin, train, or a path");
  }

  static void batches(int batch, int realBatch) {
    require(batch >= 1, "batch must be at least 1, got " + batch);
    require(realBatch >= batch, "real_batch must be at least batch, got " + realBatch);
  }

  static void levels(double sigmaMax, int steps) {
    require(sigmaMax > 0, "sigma_max must be above 0, got " + sigmaMax);
    require(steps >= 1 && steps <= 64, "steps must be 1 to 64, got " + steps);
  }

  static void pairs(int pairs, int pairSteps) {
    require(pairs >= 1, "pairs must be at least 1, got " + pairs);
    require(pairSteps >= 1 && pairSteps <= 1000, "pair_steps must be 1 to 1000, got " + pairSteps);
  }
}
