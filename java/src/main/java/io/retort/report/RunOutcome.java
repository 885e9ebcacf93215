package io.retort.report;

import io.retort.metrics.MetricTable;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// How a run ended.
///
/// @param directory where everything is
/// @param step steps completed
/// @param steps steps of the recipe
/// @param finished false if it was stopped and can be resumed
/// @param table what was measured; empty if it was stopped, or nothing could be measured
/// @param summary the content of `summary.json`, empty if it was stopped
public record RunOutcome(
    Path directory,
    long step,
    long steps,
    boolean finished,
    Optional<MetricTable> table,
    Map<String, @Nullable Object> summary) {

  /// One sentence for the terminal.
  public String sentence() {
    return finished
        ? "done: %s".formatted(directory.resolve(RunDirectory.REPORT))
        : "stopped at step %d of %d; continue with: retort resume %s"
            .formatted(step, steps, directory);
  }
}
