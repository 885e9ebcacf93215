package io.retort.metrics;

import io.retort.data.Images;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/// From images to rows of numbers: one training set, one held-out set, many sets of samples.
///
/// What the training set contributes (features, moments, projections, pooled images) is computed
/// once, when the evaluation is made, and reused for every row. Statistics of the Fréchet distance
/// come from *all* training images, as is the custom; precision, recall, density, coverage and the
/// sliced distance compare `n` samples with `n` training images chosen by the seed. The floor is
/// the same computation with `n` held-out images.
public final class Evaluation {

  /// What the reference usually is.
  public static final String TRAINING = "training images";

  private static final int CHUNK = 500;

  /// Held-out images closer to the training set than this fraction of them mark what a copy is.
  private static final double COPY_QUANTILE = 0.01;

  private final Images training;
  private final String reference;
  private final FeatureExtractor trained;
  private final FeatureExtractor random;
  private final Settings settings;

  private final float[][] trainedFeatures;
  private final float[][] trainedSubset;
  private final float[][] randomFeatures;
  private final FeatureMoments trainedMoments;
  private final FeatureMoments randomMoments;
  private final SlicedWasserstein sliced;
  private final NearestNeighbour nearest;
  private final ClassHistogram classes;
  private final double copyThreshold;
  private final MetricRow floor;

  /// How much to compute.
  ///
  /// @param n images per row, the same for all rows; more than the feature dimension
  /// @param seed of subsets and projections
  /// @param kernelSubsets subsets of the kernel distance
  /// @param kernelSubsetSize images per subset, at most n
  /// @param nearestSamples images whose nearest training image is searched, at most n
  public record Settings(
      int n, long seed, int kernelSubsets, int kernelSubsetSize, int nearestSamples) {

    public Settings {
      if (n <= Prdc.DENSITY_NEIGHBOURS
          || kernelSubsets < 1
          || kernelSubsetSize < 2
          || kernelSubsetSize > n
          || nearestSamples < 1
          || nearestSamples > n) {
        throw new IllegalArgumentException(
            ("evaluation: n must be above %d and hold the kernel subsets and nearest samples,"
                    + " got n %d, %d subsets of %d, %d nearest samples")
                .formatted(
                    Prdc.DENSITY_NEIGHBOURS, n, kernelSubsets, kernelSubsetSize, nearestSamples));
      }
    }

    /// The defaults at this n: 50 kernel subsets of at most 500, at most 1,000 nearest samples. A
    /// row then takes about two seconds of one core beside the feature networks at n = 2000, d =
    /// 128.
    public static Settings of(int n, long seed) {
      return new Settings(n, seed, 50, Math.clamp(n / 2, 2, 500), Math.min(n, 1000));
    }
  }

  /// A set of generated images.
  ///
  /// @param name of the row, such as `student`
  /// @param nfe network evaluations per image
  /// @param images exactly n of them
  /// @param conditional whether the images' labels are the classes that were asked for; otherwise
  ///   they are ignored
  /// @param imagesPerSecond measured when they were drawn; NaN if not
  public record Samples(
      String name, int nfe, Images images, boolean conditional, double imagesPerSecond) {}

  /// Extracts the features of the training set and computes the floor.
  ///
  /// @param training the images the generators were trained on
  /// @param heldOut real images nobody trained on, at least n
  /// @param trained the metric net, a classifier if it can be ([Metric#FRECHET_LENET] and others)
  /// @param random the same net at random weights ([Metric#FRECHET_RANDOM] and others)
  /// @throws IllegalArgumentException if a set has fewer than n images or the shapes differ
  public Evaluation(
      Images training,
      Images heldOut,
      FeatureExtractor trained,
      FeatureExtractor random,
      Settings settings) {
    this(training, TRAINING, heldOut, trained, random, settings);
  }

  /// As above, against other images than those the generators were trained on.
  ///
  /// @param reference what `training` is, for the notes
  public Evaluation(
      Images training,
      String reference,
      Images heldOut,
      FeatureExtractor trained,
      FeatureExtractor random,
      Settings settings) {
    this.reference = reference;
    Subset.requireSameShape("evaluation: held-out", training, heldOut);
    requireCount(reference, training, settings.n());
    requireCount("held-out images", heldOut, settings.n());
    this.training = training;
    this.trained = trained;
    this.random = random;
    this.settings = settings;
    trainedFeatures = features(trained, training);
    trainedMoments = FeatureMoments.of(trainedFeatures);
    randomFeatures = features(random, training);
    randomMoments = FeatureMoments.of(randomFeatures);
    var choice = new Random(settings.seed());
    int[] subset = Subset.indices(training.count(), settings.n(), choice);
    trainedSubset = Subset.rows(trainedFeatures, subset);
    sliced =
        new SlicedWasserstein(
            training.select(subset), SlicedWasserstein.PROJECTIONS, settings.seed());
    nearest = new NearestNeighbour(training);
    classes = histogram(labels(training));
    Images real = heldOut.select(Subset.indices(heldOut.count(), settings.n(), choice));
    copyThreshold = nearest(real).quantile(COPY_QUANTILE);
    floor = row(new Samples(MetricRow.FLOOR, 0, real, true, Double.NaN));
  }

  /// The row of held-out real images: what a perfect generator would reach at this n.
  public MetricRow floor() {
    return floor;
  }

  /// All numbers of one set of samples.
  ///
  /// @throws IllegalArgumentException if there are not exactly n images of the training set's shape
  public MetricRow row(Samples samples) {
    Images images = samples.images();
    Subset.requireSameShape("evaluation: " + samples.name(), training, images);
    if (images.count() != settings.n()) {
      throw new IllegalArgumentException(
          "evaluation: images of %s must be %d, as in every row, got %d"
              .formatted(samples.name(), settings.n(), images.count()));
    }
    float[][] trainedSamples = features(trained, images);
    float[][] randomSamples = features(random, images);
    KernelDistance trainedKernel = kernelDistance(trainedFeatures, trainedSamples);
    KernelDistance randomKernel = kernelDistance(randomFeatures, randomSamples);
    Prdc prdc = Prdc.of(trainedSubset, trainedSamples);
    NearestNeighbour.Neighbours neighbours = nearest(images);
    MetricRow row =
        MetricRow.of(samples.name(), samples.nfe(), settings.n())
            .with(Metric.FRECHET_LENET, frechet(trainedMoments, trainedSamples))
            .with(Metric.FRECHET_RANDOM, frechet(randomMoments, randomSamples))
            .with(Metric.KERNEL_LENET, trainedKernel.mean())
            .with(Metric.KERNEL_LENET_SD, trainedKernel.standardDeviation())
            .with(Metric.KERNEL_RANDOM, randomKernel.mean())
            .with(Metric.KERNEL_RANDOM_SD, randomKernel.standardDeviation())
            .with(Metric.PRECISION, prdc.precision())
            .with(Metric.RECALL, prdc.recall())
            .with(Metric.DENSITY, prdc.density())
            .with(Metric.COVERAGE, prdc.coverage())
            .with(Metric.SLICED_WASSERSTEIN, sliced.distance(images))
            .with(Metric.NEAREST_DISTANCE, neighbours.median())
            .with(Metric.NEAREST_BELOW_FLOOR, neighbours.fractionBelow(copyThreshold))
            .with(Metric.IMAGES_PER_SECOND, samples.imagesPerSecond());
    return trained.classes() == 0 ? row : withClasses(row, samples);
  }

  /// The floor, then the rows, with the notes that belong under every table.
  public MetricTable table(List<MetricRow> rows) {
    var all = new ArrayList<MetricRow>();
    all.add(floor);
    all.addAll(rows);
    return new MetricTable(all, notes());
  }

  /// Where the numbers come from: metric nets, reference, n; and a warning where n is too small.
  public List<String> notes() {
    var notes = new ArrayList<String>();
    notes.add(
        "LeNet features: %s (%d-d); random features: %s (%d-d); used in no loss. Not comparable"
                .formatted(trained.name(), trained.dimension(), random.name(), random.dimension())
            + " with published FID.");
    notes.add(
        "Reference: %d %s; floor: held-out real images; n = %d in every row."
            .formatted(training.count(), reference, settings.n()));
    if (settings.n() <= Math.max(trained.dimension(), random.dimension())) {
      notes.add(
          "n is not above the feature dimension: covariances are singular and Fréchet distances far"
              + " too large.");
    }
    return List.copyOf(notes);
  }

  private MetricRow withClasses(MetricRow row, Samples samples) {
    int[] predicted = labels(samples.images());
    ClassHistogram histogram = histogram(predicted);
    double fidelity =
        samples.conditional()
            ? ClassHistogram.labelFidelity(predicted, samples.images().labels())
            : Double.NaN;
    return row.with(Metric.CLASS_CHI2, histogram.chiSquare(classes))
        .with(Metric.CLASS_ENTROPY, histogram.entropy())
        .with(Metric.LABEL_FIDELITY, fidelity);
  }

  private KernelDistance kernelDistance(float[][] reference, float[][] samples) {
    return KernelDistance.over(
        reference, samples, settings.kernelSubsets(), settings.kernelSubsetSize(), settings.seed());
  }

  /// Of a seeded choice, not a prefix: conditional samples may come sorted by class.
  private NearestNeighbour.Neighbours nearest(Images images) {
    var choice = new Random(settings.seed());
    return nearest.of(
        images.select(Subset.indices(images.count(), settings.nearestSamples(), choice)));
  }

  private static double frechet(FeatureMoments reference, float[][] samples) {
    return Frechet.distance(reference, FeatureMoments.of(samples));
  }

  private ClassHistogram histogram(int[] labels) {
    return ClassHistogram.of(labels, Math.max(1, trained.classes()));
  }

  private int[] labels(Images images) {
    var labels = new int[images.count()];
    for (int from = 0; from < labels.length && trained.classes() > 0; from += CHUNK) {
      Images chunk = Subset.range(images, from, Math.min(from + CHUNK, labels.length));
      int[] predicted = trained.predict(chunk.pixels(), chunk.count());
      System.arraycopy(predicted, 0, labels, from, predicted.length);
    }
    return labels;
  }

  private static float[][] features(FeatureExtractor extractor, Images images) {
    var features = new float[images.count()][];
    for (int from = 0; from < features.length; from += CHUNK) {
      Images chunk = Subset.range(images, from, Math.min(from + CHUNK, features.length));
      float[][] part = extractor.features(chunk.pixels(), chunk.count());
      System.arraycopy(part, 0, features, from, part.length);
    }
    return features;
  }

  private static void requireCount(String what, Images images, int n) {
    if (images.count() < n) {
      throw new IllegalArgumentException(
          "evaluation: %s must be at least %d, got %d".formatted(what, n, images.count()));
    }
  }
}
