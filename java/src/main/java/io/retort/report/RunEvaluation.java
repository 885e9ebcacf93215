package io.retort.report;

import io.retort.data.DataException;
import io.retort.data.Dataset;
import io.retort.data.Images;
import io.retort.diffusion.ImageSampler;
import io.retort.metrics.Evaluation;
import io.retort.metrics.LeNetFeatures;
import io.retort.metrics.MetricRow;
import io.retort.metrics.MetricTable;
import io.retort.net.LeNet;
import io.retort.op.Backend;
import io.retort.recipe.BuiltIn;
import java.util.List;
import java.util.Optional;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/// Measures samplers against a data set: every row from the same latents and as many images of
/// every class, seen as the 8-bit pictures a user gets, with the speed at which they were drawn.
///
/// Owns the metric nets. Training images are the reference, held-out ones the floor.
public final class RunEvaluation implements AutoCloseable {
  private static final long SEED = 0;

  private final LeNetFeatures trained;
  private final LeNetFeatures random;
  private final Evaluation evaluation;
  private final int count;

  private RunEvaluation(
      LeNetFeatures trained, LeNetFeatures random, Evaluation evaluation, int count) {
    this.trained = trained;
    this.random = random;
    this.evaluation = evaluation;
    this.count = count;
  }

  /// Why a data set cannot be measured with `count` images a row; empty if it can.
  public static Optional<String> obstacle(Dataset data, int count) {
    if (!LeNet.accepts(data.card().height(), data.card().width())) {
      return Optional.of(
          "cannot be measured: the metric net sees images only that are " + LeNet.accepted());
    }
    int most = Math.min(data.trainingSource().count(), data.test().count());
    if (count > most) {
      return Optional.of(
          "cannot be measured with %d images a row: there are only %d".formatted(count, most));
    }
    if (!BuiltIn.hasMetricNet(data.name())) {
      return Optional.of(
          "cannot be measured before its metric net is trained: retort train"
              + " fashion-mnist-metric-net --set data=%s --out %s"
                  .formatted(data.name(), BuiltIn.metricNetFolder(data.name())));
    }
    return Optional.empty();
  }

  /// Loads the metric nets and computes the statistics of the data set and its floor.
  ///
  /// @param count images per row
  /// @throws DataException if there is an [#obstacle]
  public static RunEvaluation open(Dataset data, Backend backend, int count) {
    return open(data, null, Evaluation.TRAINING, backend, count);
  }

  /// The same against other images than the data set's own; the floor is measured against them too.
  ///
  /// @param reference images of the data set's size, null for its training images
  /// @param what these are, for the notes
  public static RunEvaluation open(
      Dataset data, @Nullable Images reference, String what, Backend backend, int count) {
    obstacle(data, count)
        .ifPresent(reason -> {
          throw new DataException(data.name(), reason);
        });
    LeNetFeatures trained =
        BuiltIn.metricNet(data.name(), backend)
            .orElseThrow(() -> new DataException(data.name(), "has no metric net"));
    @Nullable LeNetFeatures random = null;
    try {
      random = LeNetFeatures.random(backend, data.train());
      Evaluation evaluation =
          new Evaluation(
              reference != null ? reference : data.train(),
              what,
              data.test(),
              trained,
              random,
              Evaluation.Settings.of(count, SEED));
      return new RunEvaluation(trained, random, evaluation, count);
    } catch (RuntimeException failure) {
      trained.close();
      if (random != null) {
        random.close();
      }
      throw failure;
    }
  }

  /// The numbers of one sampler.
  ///
  /// @param progress told how many images are drawn
  public MetricRow row(String name, ImageSampler sampler, LongConsumer progress) {
    warmUp(sampler);
    long started = System.nanoTime();
    Images images = Generators.draw(sampler, count, progress);
    double seconds = (System.nanoTime() - started) / 1e9;
    boolean conditional = sampler.denoiser().network().classes() > 0;
    return evaluation.row(
        new Evaluation.Samples(name, sampler.evaluations(), images, conditional, count / seconds));
  }

  /// One network call, so that the clock sees no first-time costs.
  private void warmUp(ImageSampler sampler) {
    ImageSampler once =
        ImageSampler.of(sampler.backend(), sampler.denoiser(), sampler.parameters(), 1);
    Generators.draw(once, Math.min(count, once.batch()), done -> {});
  }

  /// The floor and these rows, with the notes that belong under them.
  public MetricTable table(List<MetricRow> rows) {
    return evaluation.table(rows);
  }

  @Override
  public void close() {
    trained.close();
    random.close();
  }
}
