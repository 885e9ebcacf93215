package io.retort.metrics;

/// Every number a row may hold: its key in JSON, its heading, which direction is better, and
/// whether it has a column of its own in tables.
public enum Metric {
  /// [Frechet] in features of the trained metric net.
  FRECHET_LENET("frechet_lenet", "Fréchet-LeNet", Better.LOWER, true),
  /// [Frechet] in features of the same net at random weights: sees blur and duplicates.
  FRECHET_RANDOM("frechet_random", "Fréchet-random", Better.LOWER, true),
  /// [KernelDistance#mean] in features of the trained metric net.
  KERNEL_LENET("kernel_lenet", "kernel-LeNet", Better.LOWER, true),
  /// [KernelDistance#standardDeviation] over subsets.
  KERNEL_LENET_SD("kernel_lenet_sd", "kernel-LeNet sd", Better.NEITHER, false),
  /// [KernelDistance#mean] in random features.
  KERNEL_RANDOM("kernel_random", "kernel-random", Better.LOWER, true),
  /// [KernelDistance#standardDeviation] over subsets.
  KERNEL_RANDOM_SD("kernel_random_sd", "kernel-random sd", Better.NEITHER, false),
  /// [Prdc#precision].
  PRECISION("precision", "precision", Better.HIGHER, true),
  /// [Prdc#recall].
  RECALL("recall", "recall", Better.HIGHER, true),
  /// [Prdc#density].
  DENSITY("density", "density", Better.HIGHER, true),
  /// [Prdc#coverage].
  COVERAGE("coverage", "coverage", Better.HIGHER, true),
  /// [SlicedWasserstein], root-mean-square levels per pixel.
  SLICED_WASSERSTEIN("sliced_wasserstein", "sliced W2", Better.LOWER, true),
  /// Median distance to the nearest training image ([NearestNeighbour]), in levels per pixel.
  NEAREST_DISTANCE("nn_distance", "nearest train", Better.NEITHER, true),
  /// Fraction of images nearer to the training set than 99 % of held-out images are; 0.01 expected.
  NEAREST_BELOW_FLOOR("nn_below_floor", "copies", Better.LOWER, true),
  /// [ClassHistogram#chiSquare(ClassHistogram)] against the training images' predicted classes.
  CLASS_CHI2("class_chi2", "class chi2", Better.LOWER, true),
  /// [ClassHistogram#entropy], nats.
  CLASS_ENTROPY("class_entropy", "class entropy", Better.NEITHER, false),
  /// [ClassHistogram#labelFidelity] of conditional samples.
  LABEL_FIDELITY("label_fidelity", "label fidelity", Better.HIGHER, true),
  /// Images drawn per second of wall time.
  IMAGES_PER_SECOND("images_per_second", "images/s", Better.HIGHER, true);

  /// Which direction is better.
  public enum Better {
    LOWER,
    HIGHER,
    /// Neither: read it beside the floor.
    NEITHER
  }

  private final String key;
  private final String heading;
  private final Better better;
  private final boolean tabled;

  Metric(String key, String heading, Better better, boolean tabled) {
    this.key = key;
    this.heading = heading;
    this.better = better;
    this.tabled = tabled;
  }

  /// Key in `summary.json`.
  public String key() {
    return key;
  }

  /// Heading of its column.
  public String heading() {
    return heading;
  }

  /// Which direction is better.
  public Better better() {
    return better;
  }

  /// True if tables show it; the others are in JSON only.
  public boolean tabled() {
    return tabled;
  }
}
