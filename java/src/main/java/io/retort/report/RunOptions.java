package io.retort.report;

import io.retort.data.Dataset;
import io.retort.data.Datasets;
import java.io.PrintStream;
import java.util.function.BooleanSupplier;
import java.util.function.Function;

/// What the caller of a run chooses beside the recipe: nothing here changes a number.
///
/// @param progress where the progress line goes
/// @param quiet whether it goes nowhere
/// @param stop asked between two steps and while samples are drawn; once true, the run saves its state and ends
/// @param data how the recipe's data set is found
public record RunOptions(
    PrintStream progress, boolean quiet, BooleanSupplier stop, Function<String, Dataset> data) {

  /// Progress on stderr, never stopped, the data sets that Retort knows.
  public static RunOptions standard() {
    return new RunOptions(System.err, false, () -> false, Datasets::get);
  }

  public RunOptions withStop(BooleanSupplier when) {
    return new RunOptions(progress, quiet, when, data);
  }

  public RunOptions withQuiet(boolean silent) {
    return new RunOptions(progress, silent, stop, data);
  }

  public RunOptions withData(Function<String, Dataset> sets) {
    return new RunOptions(progress, quiet, stop, sets);
  }
}
