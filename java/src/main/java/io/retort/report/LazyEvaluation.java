package io.retort.report;

import io.retort.data.Dataset;
import io.retort.op.Backend;
import org.jspecify.annotations.Nullable;

/// The evaluation of a run, opened when something is first measured and kept to the run's end.
final class LazyEvaluation implements AutoCloseable {
  private final Dataset data;
  private final Backend backend;
  private final int count;
  private @Nullable RunEvaluation opened;

  /// @param count images per row
  LazyEvaluation(Dataset data, Backend backend, int count) {
    this.data = data;
    this.backend = backend;
    this.count = count;
  }

  RunEvaluation get() {
    RunEvaluation evaluation = opened;
    if (evaluation == null) {
      evaluation = RunEvaluation.open(data, backend, count);
      opened = evaluation;
    }
    return evaluation;
  }

  @Override
  public void close() {
    if (opened != null) {
      opened.close();
    }
  }
}
