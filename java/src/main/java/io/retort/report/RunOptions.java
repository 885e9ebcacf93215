package io.retort.report;

import io.retort.data.Dataset;
import io.retort.data.Datasets;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.Function;

/// What the caller of a run chooses beside the recipe: nothing here changes a number.
///
/// @param progress told how far the run is, after every step; whoever shows it thins it out
/// @param notes told what a user should not miss, in sentences
/// @param stop asked between two steps and while samples are drawn; once true, the run saves its
///   state and ends
/// @param data how the recipe's data set is found
public record RunOptions(
    Consumer<String> progress,
    Consumer<String> notes,
    BooleanSupplier stop,
    Function<String, Dataset> data) {

  /// Silent, never stopped, with the data sets that Retort knows.
  public static RunOptions silent() {
    return new RunOptions(line -> {}, sentence -> {}, () -> false, Datasets::get);
  }

  public RunOptions withProgress(Consumer<String> listener) {
    return new RunOptions(listener, notes, stop, data);
  }

  public RunOptions withNotes(Consumer<String> listener) {
    return new RunOptions(progress, listener, stop, data);
  }

  public RunOptions withStop(BooleanSupplier when) {
    return new RunOptions(progress, notes, when, data);
  }

  public RunOptions withData(Function<String, Dataset> sets) {
    return new RunOptions(progress, notes, stop, sets);
  }
}
