package io.retort.metrics;

import java.math.BigDecimal;
import java.math.MathContext;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;
import java.util.SequencedMap;

/// Rows side by side, with notes that say where the numbers come from; text, JSON or cells of a
/// page.
///
/// @param rows in the order to show
/// @param notes one sentence each: the metric nets, n, the reference set
public record MetricTable(List<MetricRow> rows, List<String> notes) {

  public MetricTable {
    rows = List.copyOf(rows);
    notes = List.copyOf(notes);
  }

  /// One cell: what to print, and whether it is the best of its column (the floor does not
  /// compete).
  public record Cell(String text, boolean best) {}

  /// The metrics that have a column: those of [Metric#tabled] that some row holds.
  public List<Metric> columns() {
    return Arrays.stream(Metric.values())
        .filter(metric -> metric.tabled())
        .filter(metric -> rows.stream().anyMatch(row -> row.values().containsKey(metric)))
        .toList();
  }

  /// Headings of all columns: `name`, `NFE`, `n`, then [#columns].
  public List<String> header() {
    var header = new ArrayList<>(List.of("name", "NFE", "n"));
    columns().forEach(metric -> header.add(metric.heading()));
    return header;
  }

  /// One list of cells per row, in the order of [#header]. A number that was not computed is `-`.
  public List<List<Cell>> cells() {
    return rows.stream().map(this::cells).toList();
  }

  /// The table with aligned columns, best values marked `*`, notes below.
  public String text() {
    var lines = new ArrayList<List<String>>();
    lines.add(header());
    for (List<Cell> row : cells()) {
      lines.add(row.stream().map(cell -> cell.best() ? cell.text() + "*" : cell.text()).toList());
    }
    var text = new StringBuilder();
    for (List<String> line : lines) {
      var aligned = new StringBuilder();
      for (int c = 0; c < line.size(); c++) {
        String padding = " ".repeat(width(lines, c) - line.get(c).length());
        aligned.append(c == 0 ? line.get(c) + padding : "  " + padding + line.get(c));
      }
      text.append(aligned.toString().stripTrailing()).append('\n');
    }
    notes.forEach(note -> text.append(note).append('\n'));
    return text.toString();
  }

  /// The rows as `summary.json` has them.
  public List<SequencedMap<String, Object>> json() {
    return rows.stream().map(MetricRow::json).toList();
  }

  /// A number to three significant digits, without an exponent where it stays readable.
  public static String format(double value) {
    if (Double.isNaN(value)) {
      return "-";
    }
    double size = Math.abs(value);
    if (size != 0 && (size < 1e-5 || size >= 1e7)) {
      return String.format(Locale.ROOT, "%.2e", value);
    }
    if (size >= 1000) {
      return String.format(Locale.ROOT, "%.0f", value);
    }
    if (value == 0) {
      return "0";
    }
    var rounded = new BigDecimal(value).round(new MathContext(3));
    int integerDigits = rounded.precision() - rounded.scale();
    return rounded.setScale(Math.max(0, 3 - integerDigits)).toPlainString();
  }

  private List<Cell> cells(MetricRow row) {
    var cells = new ArrayList<Cell>();
    cells.add(new Cell(row.name(), false));
    cells.add(new Cell(row.nfe() == 0 ? "-" : Integer.toString(row.nfe()), false));
    cells.add(new Cell(Integer.toString(row.n()), false));
    for (Metric metric : columns()) {
      double value = row.value(metric);
      OptionalDouble best = best(metric);
      boolean wins = !row.isFloor() && best.isPresent() && value == best.getAsDouble();
      cells.add(new Cell(format(value), wins));
    }
    return cells;
  }

  /// The best value among the rows that compete; empty where fewer than two do.
  private OptionalDouble best(Metric metric) {
    double[] values =
        rows.stream()
            .filter(row -> !row.isFloor())
            .mapToDouble(row -> row.value(metric))
            .filter(value -> !Double.isNaN(value))
            .toArray();
    if (values.length < 2) {
      return OptionalDouble.empty();
    }
    return switch (metric.better()) {
      case LOWER -> Arrays.stream(values).min();
      case HIGHER -> Arrays.stream(values).max();
      case NEITHER -> OptionalDouble.empty();
    };
  }

  private static int width(List<List<String>> lines, int column) {
    return lines.stream().mapToInt(line -> line.get(column).length()).max().orElse(0);
  }
}
