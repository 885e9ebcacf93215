package io.retort.report;

import io.retort.data.Dataset;
import io.retort.diffusion.ImageSampler;
import io.retort.metrics.Metric;
import io.retort.metrics.MetricRow;
import io.retort.op.Backend;
import io.retort.recipe.Recipe;
import io.retort.train.Trainer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;

/// How good the averaged weights are while they are trained: columns `quality/...` of
/// `metrics.jsonl`, every `evaluation.every` steps.
///
/// Opens the metric nets at the first measurement.
final class RunQuality {
  static final String PREFIX = "quality/";

  static final List<Metric> WATCHED =
      List.of(Metric.FRECHET_LENET, Metric.FRECHET_RANDOM, Metric.PRECISION, Metric.RECALL);

  private final Recipe recipe;
  private final StepLog log;
  private final LazyEvaluation evaluation;
  private final Optional<ImageSampler> sampler;

  RunQuality(
      Recipe recipe,
      Dataset data,
      Backend backend,
      Trainer trainer,
      StepLog log,
      LazyEvaluation evaluation) {
    this.recipe = recipe;
    this.log = log;
    this.evaluation = evaluation;
    int count = recipe.evaluation().count();
    boolean wanted = recipe.evaluation().every() > 0 && count > 0;
    sampler =
        wanted && RunEvaluation.obstacle(data, count).isEmpty()
            ? Generators.shown(Generators.of(recipe, trainer, backend))
            : Optional.empty();
  }

  /// Measures after a step whose turn it is; nothing otherwise.
  void after(long step) {
    if (sampler.isPresent() && step % recipe.evaluation().every() == 0) {
      MetricRow row = evaluation.get().row("running", sampler.get(), done -> {});
      SequencedMap<String, Double> values = new LinkedHashMap<>();
      WATCHED.forEach(metric -> values.put(PREFIX + metric.key(), row.value(metric)));
      log.measured(step, values);
    }
  }
}
