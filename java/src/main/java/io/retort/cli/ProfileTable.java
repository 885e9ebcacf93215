package io.retort.cli;

import io.retort.backend.KernelProfile.Row;
import io.retort.backend.MeasuredPeaks;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;

/// The table of `--profile`: families of kernels, the kernels of each, and their shapes if wanted,
/// the longest first.
///
/// @param wall seconds that passed in all but for the profile's own, from which the time outside
///   kernels follows
record ProfileTable(List<Row> rows, MeasuredPeaks peaks, double wall, boolean shapes) {
  private static final int BAR = 20;
  private static final double LEAST_SHARE = 0.001;

  String text() {
    var table =
        new TextTable(
            "kernel", "", ">share", ">seconds", ">calls", ">us/call", ">GFLOP/s", ">GB/s", ">roof");
    grouped(rows, Row::family)
        .forEach((family, members) -> {
          table.row(cells(family, sum(members), false));
          kernels(members).forEach(kernel -> add(table, kernel, members));
        });
    double kernels = rows.stream().mapToDouble(Row::seconds).sum();
    double outside = Math.max(0, wall - kernels);
    table.row(
        "outside kernels", bar(outside), share(outside), seconds(outside), "", "", "", "", "");
    table.row("all", "", share(wall), seconds(wall), "", "", "", "", "");
    return table.text() + legend();
  }

  private void add(TextTable table, Row kernel, List<Row> members) {
    if (kernel.seconds() < LEAST_SHARE * wall) {
      return;
    }
    table.row(cells("· " + name(kernel), kernel, true));
    if (shapes) {
      members.stream()
          .filter(row -> name(row).equals(name(kernel)))
          .filter(row -> row.seconds() >= LEAST_SHARE * wall)
          .sorted(Comparator.comparingDouble(Row::seconds).reversed())
          .forEach(row -> table.row(cells("·   " + row.shapes(), row, true)));
    }
  }

  private Object[] cells(String label, Row row, boolean rates) {
    return new Object[] {
      label,
      bar(row.seconds()),
      share(row.seconds()),
      seconds(row.seconds()),
      row.calls(),
      "%.1f".formatted(row.seconds() / row.calls() * 1e6),
      rates && row.flops() > 0 ? "%.0f".formatted(row.flops() / row.seconds() / 1e9) : "",
      rates && row.bytes() > 0 ? "%.1f".formatted(row.bytes() / row.seconds() / 1e9) : "",
      rates && row.bytes() > 0 ? "%.0f%%".formatted(100 * peaks.seconds(row) / row.seconds()) : ""
    };
  }

  private String legend() {
    return """
    roof: the least time this work takes, of arithmetic at %.0f GFLOP/s (float32) or %.0f (bfloat16) and of bytes at \
    %.1f GB/s, over the time it took.
    The rates are this machine's best of products of 1024x1024 matrices and of a copy of 64 MiB; what a cache holds \
    can be faster.
    """
        .formatted(peaks.float32() / 1e9, peaks.bfloat16() / 1e9, peaks.copy() / 1e9);
  }

  private static List<Row> kernels(List<Row> members) {
    return grouped(members, ProfileTable::name).values().stream().map(ProfileTable::sum).toList();
  }

  /// Groups, the one with the most time first.
  private static Map<String, List<Row>> grouped(List<Row> rows, Function<Row, String> key) {
    Map<String, List<Row>> groups = rows.stream().collect(Collectors.groupingBy(key));
    return groups.entrySet().stream()
        .sorted(
            Comparator.comparingDouble(
                (Map.Entry<String, List<Row>> group) -> -sum(group.getValue()).seconds()))
        .collect(
            Collectors.toMap(
                Map.Entry::getKey,
                Map.Entry::getValue,
                (first, second) -> first,
                java.util.LinkedHashMap::new));
  }

  private static Row sum(List<Row> rows) {
    return rows.stream().map(Row::anyShape).reduce(Row::plus).orElseThrow();
  }

  private static String name(Row row) {
    return row.bytes() > 0
        ? row.kernel() + " " + row.type().name().toLowerCase(Locale.ROOT)
        : row.kernel();
  }

  private String bar(double seconds) {
    return "█".repeat((int) Math.round(BAR * seconds / wall));
  }

  private String share(double seconds) {
    return "%.1f%%".formatted(100 * seconds / wall);
  }

  private static String seconds(double seconds) {
    return "%.2f".formatted(seconds);
  }
}
