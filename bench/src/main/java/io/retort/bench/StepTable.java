package io.retort.bench;

import io.retort.bench.StepContestant.Sample;
import io.retort.bench.StepWorker.Kind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/// Rows of one run of [StepBench]: contestants by kinds of step.
///
/// @param batch images a step
/// @param environment columns that all rows share, in order
/// @param rows the first contestant's first
record StepTable(int batch, SequencedMap<String, String> environment, List<Row> rows) {
  private static final double UNSTABLE = 0.15;

  /// One contestant's steps of one kind, in milliseconds.
  ///
  /// @param foreignCores median of what other processes used during a sample
  record Row(
      String name, String engine, Kind kind, List<Double> milliseconds, double foreignCores) {

    static Row of(StepContestant contestant, Kind kind) {
      List<Sample> samples = contestant.samples(kind);
      return new Row(
          contestant.name(),
          contestant.fact("engine"),
          kind,
          samples.stream().map(sample -> sample.seconds() * 1e3).toList(),
          quantile(samples.stream().map(Sample::foreignCores).toList(), 0.5));
    }

    double at(double quantile) {
      return quantile(milliseconds, quantile);
    }

    private static double quantile(List<Double> values, double quantile) {
      List<Double> sorted = values.stream().sorted().toList();
      double place = quantile * (sorted.size() - 1);
      int below = (int) place;
      int above = Math.min(below + 1, sorted.size() - 1);
      return sorted.get(below) + (place - below) * (sorted.get(above) - sorted.get(below));
    }
  }

  /// How many times longer the row's contestant takes than the first one, round by round; above 1,
  /// the first is faster.
  ///
  /// Neighbours slow a whole round down more than they disturb one of its samples.
  private List<Double> ratios(Row row) {
    List<Double> first = first(row.kind()).milliseconds();
    return IntStream.range(0, first.size())
        .mapToObj(round -> row.milliseconds().get(round) / first.get(round))
        .toList();
  }

  private double ratio(Row row) {
    return Row.quantile(ratios(row), 0.5);
  }

  /// Whether the middle of the ratios is too wide for a number.
  private boolean unstable(Row row) {
    List<Double> ratios = ratios(row);
    return Row.quantile(ratios, 0.8) - Row.quantile(ratios, 0.2) > UNSTABLE * ratio(row);
  }

  private Row first(Kind kind) {
    return rows.stream().filter(row -> row.kind() == kind).findFirst().orElseThrow();
  }

  String text() {
    var text = new StringBuilder();
    environment.forEach((name, value) -> text.append("%-12s%s%n".formatted(name, value)));
    text.append(
        line(
            "%n%-9s%-34s%10s%10s%10s%10s%10s%9s%n",
            "step", "contestant", "median ms", "min", "max", "images/s", "/ first", "foreign"));
    for (Row row : rows) {
      text.append(
          line(
              "%-9s%-34s%10.1f%10.1f%10.1f%10.1f%10.3f%9.2f%s%n",
              row.kind().command(),
              row.name(),
              row.at(0.5),
              row.at(0),
              row.at(1),
              batch * 1e3 / row.at(0.5),
              ratio(row),
              row.foreignCores(),
              unstable(row) ? "  unstable" : ""));
    }
    for (Kind kind : Kind.values()) {
      fastestPeer(kind).ifPresent(peer -> text.append(verdict(peer)));
    }
    return text.toString();
  }

  private Optional<Row> fastestPeer(Kind kind) {
    return rows.stream()
        .filter(row -> row.kind() == kind && !row.name().equals(first(kind).name()))
        .min(Comparator.comparingDouble(this::ratio));
  }

  private String verdict(Row peer) {
    Row own = first(peer.kind());
    if (unstable(peer)) {
      return line("%n%s: unstable, no verdict", peer.kind().command());
    }
    return line(
        "%n%s: fastest peer / %s = %.3f (%s)",
        peer.kind().command(), own.name(), ratio(peer), peer.name());
  }

  private static String line(String format, Object... values) {
    return String.format(Locale.ROOT, format, values);
  }

  /// Appends the rows to a CSV file, which gets a header when it is new.
  void append(Path file) throws IOException {
    Files.createDirectories(file.toAbsolutePath().getParent());
    List<String> lines = new ArrayList<>();
    if (!Files.exists(file)) {
      lines.add(
          String.join(",", environment.keySet())
              + ",step,contestant,engine,median_ms,p20_ms,p80_ms,min_ms,max_ms,images_per_s,"
              + "over_first,foreign_cores,samples_ms");
    }
    rows.forEach(row -> lines.add(csv(row)));
    Files.write(file, lines, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
  }

  private String csv(Row row) {
    String shared =
        environment.entrySet().stream()
            .map(Map.Entry::getValue)
            .map(value ->
                value.matches(".*[,\" ].*") ? '"' + value.replace("\"", "\"\"") + '"' : value)
            .collect(Collectors.joining(","));
    String samples =
        row.milliseconds().stream().map(ms -> line("%.2f", ms)).collect(Collectors.joining(" "));
    return line(
        "%s,%s,\"%s\",\"%s\",%.2f,%.2f,%.2f,%.2f,%.2f,%.2f,%.4f,%.2f,%s",
        shared,
        row.kind().command(),
        row.name(),
        row.engine(),
        row.at(0.5),
        row.at(0.2),
        row.at(0.8),
        row.at(0),
        row.at(1),
        batch * 1e3 / row.at(0.5),
        ratio(row),
        row.foreignCores(),
        samples);
  }
}
