package io.retort.report;

import io.retort.data.Images;
import io.retort.metrics.MetricTable;
import io.retort.recipe.Recipe;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/// What is known at the end of a run.
///
/// @param table metrics of every row; empty if nothing was measured
/// @param unmeasured why not, empty if it was
/// @param pictures images from the shared latents by the name of their row
/// @param accuracy of a classifier on held-out images
/// @param calibration numbers found before the first step
/// @param trainingSeconds sum over all steps
/// @param trainingImages images consumed by all steps
/// @param wallSeconds whole duration, over all processes of the run
public record RunResults(
    Optional<MetricTable> table,
    Optional<String> unmeasured,
    SequencedMap<String, Images> pictures,
    OptionalDouble accuracy,
    Map<String, Double> calibration,
    double trainingSeconds,
    long trainingImages,
    double wallSeconds) {

  double trainingImagesPerSecond() {
    return trainingImages / Math.max(trainingSeconds, 1e-9);
  }

  /// The content of `summary.json`.
  SequencedMap<String, @Nullable Object> summary(Recipe recipe, String device, long leaked) {
    SequencedMap<String, @Nullable Object> summary = new LinkedHashMap<>();
    summary.put("steps", recipe.steps());
    summary.put("wall_seconds", wallSeconds);
    summary.put("seed", recipe.seed());
    summary.put("rows", table.<Object>map(MetricTable::json).orElse(List.of()));
    summary.put("method", recipe.method());
    summary.put("data", recipe.data());
    summary.put("device", device);
    summary.put("images_per_second", trainingImagesPerSecond());
    summary.put("training_seconds", trainingSeconds);
    summary.put("live_tensors_at_end", leaked);
    accuracy.ifPresent(value -> summary.put("test_accuracy", value));
    unmeasured.ifPresent(reason -> summary.put("not_measured", reason));
    calibration.forEach(summary::put);
    return summary;
  }
}
