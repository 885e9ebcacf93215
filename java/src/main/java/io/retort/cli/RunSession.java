package io.retort.cli;

import io.retort.op.Backend;
import io.retort.report.RunOptions;
import io.retort.report.RunOutcome;
import java.util.LinkedHashMap;
import java.util.function.BiFunction;

/// Lets a run report to the console and be stopped by a signal, and says how it ended.
record RunSession(Console console, CommonOptions common, DeviceOption device) {

  /// Carries a run out.
  ///
  /// @param body starts or resumes the run
  /// @return success if it finished, failure if it was stopped and can be resumed
  int carryOut(BiFunction<Backend, RunOptions, RunOutcome> body) {
    RunOutcome outcome = outcome(body);
    report(outcome);
    device.profile(console);
    return outcome.finished() ? ExitStatus.SUCCESS : ExitStatus.FAILURE;
  }

  /// Carries a run out and says nothing of its end.
  RunOutcome outcome(BiFunction<Backend, RunOptions, RunOutcome> body) {
    Backend backend = device.open(console, true);
    try (StopSignal stop = new StopSignal(console)) {
      RunOptions options =
          RunOptions.silent()
              .withProgress(console::progress)
              .withNotes(console::note)
              .withStop(stop);
      RunOutcome outcome = body.apply(backend, options);
      device.report(console, backend);
      return outcome;
    }
  }

  private void report(RunOutcome outcome) {
    if (common.json()) {
      var json = new LinkedHashMap<String, Object>();
      json.put("directory", outcome.directory().toString());
      json.put("step", outcome.step());
      json.put("steps", outcome.steps());
      json.put("finished", outcome.finished());
      json.put("summary", outcome.summary());
      console.json(json);
    } else {
      outcome.table().ifPresent(table -> console.print(table.text()));
    }
    if (!outcome.finished()) {
      console.fail(outcome.sentence());
    } else if (!common.json()) {
      console.print(outcome.sentence());
    }
  }
}
