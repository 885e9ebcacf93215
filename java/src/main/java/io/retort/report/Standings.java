package io.retort.report;

import io.retort.metrics.Metric;
import io.retort.metrics.MetricTable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.SequencedMap;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;

/// What runs reached at their end, beside the same runs without one idea of their method.
///
/// An idea works if its gain is more than twice the larger standard deviation over the seeds, with
/// it or without.
final class Standings {
  static final List<String> HEADINGS =
      List.of("run", "steps", "seconds", "n", "at the end", "without its idea", "then", "verdict");

  private static final double CLEAR = 2;

  /// The same runs without an idea.
  private record Control(String label, List<RunSummary> runs) {}

  private final Metric metric;
  private final SequencedMap<String, List<RunSummary>> groups = new LinkedHashMap<>();
  private final SequencedMap<String, Control> controls = new LinkedHashMap<>();

  Standings(Metric metric) {
    this.metric = metric;
  }

  /// Adds runs that have ended, under a name.
  void add(String name, List<RunSummary> runs) {
    groups.put(name, List.copyOf(runs));
  }

  /// Adds the runs of a name without one idea.
  ///
  /// @param label what they lack, such as `without_el`
  void addControl(String name, String label, List<RunSummary> runs) {
    controls.put(name, new Control(label.replace('_', ' '), List.copyOf(runs)));
  }

  boolean isEmpty() {
    return groups.isEmpty();
  }

  /// A row for each name, in the order of [#HEADINGS].
  List<List<String>> rows() {
    List<List<String>> rows = new ArrayList<>();
    groups.forEach((name, runs) -> {
      double[] values = ends(runs);
      Optional<Control> control = Optional.ofNullable(controls.get(name));
      double[] without = control.map(of -> ends(of.runs)).orElseGet(() -> new double[0]);
      rows.add(
          List.of(
              name,
              "%.0f".formatted(median(runs, RunSummary::steps)),
              "%.0f".formatted(median(runs, RunSummary::wallSeconds)),
              "%.0f".formatted(median(runs, run -> run.value(Generators.STUDENT, "n").orElse(0))),
              told(values),
              control.map(Control::label).orElse("-"),
              told(without),
              verdict(values, without)));
    });
    return rows;
  }

  /// What the numbers have to be read beside; empty if no run measured it.
  Optional<String> beside() {
    List<String> parts = new ArrayList<>();
    for (String row : List.of(Generators.TEACHER, Generators.TEACHER_ONE_STEP, "floor")) {
      OptionalDouble evaluations = evaluations(row);
      if (row.equals(Generators.TEACHER) && evaluations.orElse(0) == 1) {
        continue; // the row after it says the same
      }
      double[] values =
          groups.values().stream()
              .flatMap(List::stream)
              .map(run -> run.value(row, metric.key()))
              .flatMapToDouble(OptionalDouble::stream)
              .distinct()
              .toArray();
      if (values.length > 0) {
        double least = Arrays.stream(values).min().orElseThrow();
        double most = Arrays.stream(values).max().orElseThrow();
        String range = MetricTable.format(least);
        if (!range.equals(MetricTable.format(most))) {
          range += " to " + MetricTable.format(most);
        }
        String calls =
            row.equals(Generators.TEACHER) && evaluations.isPresent()
                ? " (%.0f evaluations)".formatted(evaluations.getAsDouble())
                : "";
        parts.add("%s%s %s".formatted(row.replace('_', ' '), calls, range));
      }
    }
    return parts.isEmpty() ? Optional.empty() : Optional.of(String.join(", ", parts));
  }

  private OptionalDouble evaluations(String row) {
    return groups.values().stream()
        .flatMap(List::stream)
        .map(run -> run.value(row, "nfe"))
        .flatMapToDouble(OptionalDouble::stream)
        .max();
  }

  private double[] ends(List<RunSummary> runs) {
    return runs.stream()
        .map(run -> run.value(Generators.STUDENT, metric.key()))
        .flatMapToDouble(OptionalDouble::stream)
        .toArray();
  }

  private String verdict(double[] values, double[] without) {
    if (values.length == 0 || without.length == 0) {
      return "-";
    }
    if (values.length < 2 || without.length < 2) {
      return "one seed says nothing";
    }
    double gain =
        switch (metric.better()) {
          case LOWER -> median(without) - median(values);
          case HIGHER, NEITHER -> median(values) - median(without);
        };
    double clear = CLEAR * Math.max(deviation(values), deviation(without));
    if (Math.abs(gain) <= clear) {
      return "no difference seen at this scale";
    }
    return gain > 0 ? "works" : "worse with it at this scale";
  }

  private static String told(double[] values) {
    return values.length == 0
        ? "-"
        : "**%s** (%s)"
            .formatted(
                MetricTable.format(median(values)),
                Arrays.stream(values)
                    .mapToObj(MetricTable::format)
                    .collect(Collectors.joining(", ")));
  }

  private static double median(List<RunSummary> runs, ToDoubleFunction<RunSummary> number) {
    return median(runs.stream().mapToDouble(number).toArray());
  }

  static double median(double... values) {
    double[] sorted = Arrays.stream(values).sorted().toArray();
    int middle = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  /// Standard deviation of a sample.
  private static double deviation(double[] values) {
    double mean = Arrays.stream(values).average().orElseThrow();
    double squares = Arrays.stream(values).map(value -> (value - mean) * (value - mean)).sum();
    return Math.sqrt(squares / (values.length - 1));
  }
}
