package io.retort.bench;

import io.retort.bench.StepContestant.Sample;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/// Rows of one run of [StepBench]: contestants by rows of its suite.
///
/// @param environment columns that all rows share, in order
/// @param shares of the machine's measured peak, of the first contestant's rows
/// @param rows the first contestant's first
record StepTable(
    SequencedMap<String, String> environment, SequencedMap<String, Double> shares, List<Row> rows) {
  private static final double UNSTABLE = 0.15;

  /// One contestant's samples of one row, in milliseconds.
  ///
  /// @param foreignCores median of what other processes used during a sample
  record Row(
      String name, String engine, BenchRow work, List<Double> milliseconds, double foreignCores) {

    static Row of(StepContestant contestant, BenchRow work) {
      List<Sample> samples = contestant.samples(work);
      return new Row(
          contestant.name(),
          contestant.fact("engine"),
          work,
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
    List<Double> first = first(row.work()).milliseconds();
    return IntStream.range(0, first.size())
        .mapToObj(round -> row.milliseconds().get(round) / first.get(round))
        .toList();
  }

  private double ratio(Row row) {
    return Row.quantile(ratios(row), 0.5);
  }

  /// Whether the middle of the ratios is too wide for a number.
  private boolean unstable(Row row) {
    return spread(row) > UNSTABLE * ratio(row);
  }

  /// Between the 20th and the 80th percentile of the ratios.
  private double spread(Row row) {
    List<Double> ratios = ratios(row);
    return Row.quantile(ratios, 0.8) - Row.quantile(ratios, 0.2);
  }

  private Row first(BenchRow work) {
    return rows.stream().filter(row -> row.work() == work).findFirst().orElseThrow();
  }

  String text() {
    var text = new StringBuilder();
    environment.forEach((name, value) -> text.append("%-12s%s%n".formatted(name, value)));
    text.append(
        line(
            "%n%-28s%-34s%10s%10s%10s%10s%9s%9s%n",
            "row", "contestant", "median ms", "min", "max", "/ first", "of peak", "foreign"));
    for (Row row : rows) {
      text.append(
          line(
              "%-28s%-34s%10.2f%10.2f%10.2f%10.3f%9s%9.2f%s%n",
              row.work().name(),
              row.name(),
              row.at(0.5),
              row.at(0),
              row.at(1),
              ratio(row),
              ofPeak(row),
              row.foreignCores(),
              unstable(row) ? "  unstable" : ""));
    }
    for (BenchRow work : works()) {
      fastestPeer(work).ifPresent(peer -> text.append(verdict(peer)));
    }
    return text.toString();
  }

  private List<BenchRow> works() {
    return rows.stream().map(Row::work).distinct().toList();
  }

  private Optional<Row> fastestPeer(BenchRow work) {
    return rows.stream()
        .filter(row -> row.work() == work && !row.name().equals(first(work).name()))
        .min(Comparator.comparingDouble(this::ratio));
  }

  private String verdict(Row peer) {
    Row own = first(peer.work());
    if (unstable(peer)) {
      return line("%n%s: unstable, no verdict", peer.work().name());
    }
    return line(
        "%n%s: fastest peer / %s = %.3f (%s)",
        peer.work().name(), own.name(), ratio(peer), peer.name());
  }

  private String ofPeak(Row row) {
    Double share = shares.get(row.work().name());
    return share == null || row != first(row.work()) ? "" : line("%.0f%%", 100 * share);
  }

  /// The first contestant beside its fastest peer, row by row, for machines to read.
  List<SequencedMap<String, Object>> json() {
    List<SequencedMap<String, Object>> objects = new ArrayList<>();
    for (BenchRow work : works()) {
      SequencedMap<String, Object> object = new LinkedHashMap<>();
      object.put("name", work.name());
      object.put("retort_ms", first(work).at(0.5));
      fastestPeer(work)
          .ifPresent(peer -> {
            object.put("peer", peer.name());
            object.put("peer_ms", peer.at(0.5));
            object.put("ratio", ratio(peer));
            object.put("spread", spread(peer));
          });
      Double share = shares.get(work.name());
      if (share != null) {
        object.put("of_peak", share);
      }
      objects.add(object);
    }
    return objects;
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
              + ",row,contestant,engine,median_ms,p20_ms,p80_ms,min_ms,max_ms,over_first,"
              + "of_peak,foreign_cores,samples_ms");
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
        row.milliseconds().stream().map(ms -> line("%.3f", ms)).collect(Collectors.joining(" "));
    return line(
        "%s,%s,\"%s\",\"%s\",%.3f,%.3f,%.3f,%.3f,%.3f,%.4f,%s,%.2f,%s",
        shared,
        row.work().name(),
        row.name(),
        row.engine(),
        row.at(0.5),
        row.at(0.2),
        row.at(0.8),
        row.at(0),
        row.at(1),
        ratio(row),
        ofPeak(row),
        row.foreignCores(),
        samples);
  }
}
