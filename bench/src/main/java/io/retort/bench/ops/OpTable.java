package io.retort.bench.ops;

import io.retort.data.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SequencedMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// The rows of one run of [OpBench].
final class OpTable {
  private final SequencedMap<String, Object> environment;
  private final List<OpRow> rows = new ArrayList<>();
  private final List<Map<String, Object>> refused = new ArrayList<>();
  private int appended;

  /// @param environment columns that all rows share, in order
  OpTable(SequencedMap<String, Object> environment) {
    this.environment = environment;
  }

  String heading() {
    return line(
        "%n%-36s%-16s%-5s%11s%10s%10s%9s%9s%8s",
        "workload", "pass", "type", "median us", "p80", "host us", "GB/s", "TFLOP/s", "% bound");
  }

  /// @return the row as a line of text
  String add(OpRow row) {
    rows.add(row);
    return line(
        "%-36s%-16s%-5s%11.1f%10.1f%10.1f%9.0f%9.1f%8.1f  %s",
        row.workload().name(),
        row.trial().pass(),
        row.precision(),
        row.at(0.5),
        row.at(0.8),
        row.hostMicroseconds(),
        row.gigabytesPerSecond(),
        row.teraflopsPerSecond(),
        row.percent(),
        row.note());
  }

  /// A call that is not timed.
  ///
  /// @return its line of text
  String broken(Workload workload, String pass, String reason) {
    String type = workload.precision().name().toLowerCase(Locale.ROOT);
    refused.add(
        Map.of("workload", workload.name(), "pass", pass, "precision", type, "reason", reason));
    return line("%-36s%-16s%-5s  NO TIMING: %s", workload.name(), pass, type, reason);
  }

  private static String line(String format, Object... values) {
    return String.format(Locale.ROOT, format, values).stripTrailing();
  }

  /// Everything, for programs.
  String json() {
    var document = new LinkedHashMap<String, Object>();
    document.put("environment", environment);
    document.put("rows", rows.stream().map(OpRow::columns).toList());
    document.put("refused", refused);
    return Json.writeIndented(document);
  }

  /// Appends the rows that are new to a CSV file, which gets a header when it is new.
  void append(Path file) throws IOException {
    Files.createDirectories(file.toAbsolutePath().getParent());
    List<String> lines = new ArrayList<>();
    if (!rows.isEmpty() && !Files.exists(file)) {
      lines.add(
          Stream.concat(environment.keySet().stream(), rows.getFirst().columns().keySet().stream())
              .collect(Collectors.joining(",")));
    }
    rows.subList(appended, rows.size()).forEach(row -> lines.add(csv(row)));
    appended = rows.size();
    Files.write(file, lines, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
  }

  private String csv(OpRow row) {
    return Stream.concat(environment.values().stream(), row.columns().values().stream())
        .map(value -> quoted(value.toString()))
        .collect(Collectors.joining(","));
  }

  private static String quoted(String value) {
    return value.matches(".*[,\" ].*") ? '"' + value.replace("\"", "\"\"") + '"' : value;
  }
}
