package io.retort.cli;

import io.retort.data.Printable;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;

/// Aligned columns for a terminal. Cells may hold text from files: control characters never pass.
final class TextTable {
  private static final int LONGEST_CELL = 100;

  private final List<Object> header = new ArrayList<>();
  private final List<Iterable<List<Object>>> rows = new ArrayList<>();
  private final boolean[] numeric;

  /// @param header headings; one that starts with `>` makes a right-aligned column
  TextTable(String... header) {
    numeric = new boolean[header.length];
    for (int i = 0; i < header.length; i++) {
      numeric[i] = header[i].startsWith(">");
      this.header.add(numeric[i] ? header[i].substring(1) : header[i]);
    }
  }

  TextTable row(Object... cells) {
    return rows(List.of(List.of(cells)));
  }

  /// Many rows, which are made twice when the table is printed and never held: once to measure
  /// them, once to print them.
  TextTable rows(Iterable<List<Object>> many) {
    rows.add(many);
    return this;
  }

  /// All lines, the heading first.
  String text() {
    var text = new StringBuilder();
    try {
      print(text);
    } catch (IOException impossible) {
      throw new UncheckedIOException(impossible);
    }
    return text.toString();
  }

  /// Prints all lines, the heading first.
  void print(Appendable out) throws IOException {
    int[] widths = new int[numeric.length];
    measure(header, widths);
    for (Iterable<List<Object>> some : rows) {
      for (List<Object> row : some) {
        measure(row, widths);
      }
    }
    print(out, header, widths);
    for (Iterable<List<Object>> some : rows) {
      for (List<Object> row : some) {
        print(out, row, widths);
      }
    }
  }

  private static void measure(List<Object> row, int[] widths) {
    if (row.size() != widths.length) {
      throw new IllegalArgumentException(
          "table: a row must have %d cells, got %d".formatted(widths.length, row.size()));
    }
    for (int column = 0; column < widths.length; column++) {
      widths[column] = Math.max(widths[column], cell(row.get(column)).length());
    }
  }

  private void print(Appendable out, List<Object> row, int[] widths) throws IOException {
    var line = new StringBuilder();
    for (int column = 0; column < numeric.length; column++) {
      String cell = cell(row.get(column));
      String padding = " ".repeat(widths[column] - cell.length());
      line.append(column == 0 ? "" : "  ")
          .append(numeric[column] ? padding + cell : cell + padding);
    }
    out.append(line.toString().stripTrailing()).append('\n');
  }

  private static String cell(Object value) {
    return Printable.line(value.toString().strip(), LONGEST_CELL);
  }

  /// `1.5 KB`, `93.4 MB`: decimal units, as disks are sold.
  static String bytes(long bytes) {
    if (bytes < 1000) {
      return bytes + " B";
    }
    double size = bytes;
    int unit = -1;
    for (; size >= 999.95 && unit < 3; unit++) {
      size /= 1000;
    }
    return "%.1f %s".formatted(size, List.of("KB", "MB", "GB", "TB").get(unit));
  }
}
