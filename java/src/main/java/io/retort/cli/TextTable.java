package io.retort.cli;

import java.util.ArrayList;
import java.util.List;

/// Aligned columns for a terminal. Cells may hold text from files: control characters never pass.
final class TextTable {
  private static final int LONGEST_CELL = 100;

  private final List<List<String>> rows = new ArrayList<>();
  private final boolean[] numeric;

  /// @param header headings; one that starts with `>` makes a right-aligned column
  TextTable(String... header) {
    numeric = new boolean[header.length];
    var names = new ArrayList<String>();
    for (int i = 0; i < header.length; i++) {
      numeric[i] = header[i].startsWith(">");
      names.add(numeric[i] ? header[i].substring(1) : header[i]);
    }
    rows.add(names);
  }

  TextTable row(Object... cells) {
    if (cells.length != numeric.length) {
      throw new IllegalArgumentException(
          "table: a row must have %d cells, got %d".formatted(numeric.length, cells.length));
    }
    var row = new ArrayList<String>();
    for (Object cell : cells) {
      row.add(shortened(printable(cell.toString())));
    }
    rows.add(row);
    return this;
  }

  /// All lines, the heading first.
  String text() {
    var text = new StringBuilder();
    var widths = new int[numeric.length];
    for (int column = 0; column < numeric.length; column++) {
      widths[column] = width(column);
    }
    for (List<String> row : rows) {
      var line = new StringBuilder();
      for (int column = 0; column < numeric.length; column++) {
        String padding = " ".repeat(widths[column] - row.get(column).length());
        line.append(column == 0 ? "" : "  ")
            .append(numeric[column] ? padding + row.get(column) : row.get(column) + padding);
      }
      text.append(line.toString().stripTrailing()).append('\n');
    }
    return text.toString();
  }

  private int width(int column) {
    return rows.stream().mapToInt(row -> row.get(column).length()).max().orElse(0);
  }

  /// The text on one line, without characters that could move a cursor or hide a name.
  static String printable(String text) {
    return text.replaceAll("\\s*\\R\\s*", " ").replaceAll("[\\p{Cntrl}\\p{Cf}]", "?").strip();
  }

  private static String shortened(String text) {
    return text.length() <= LONGEST_CELL ? text : text.substring(0, LONGEST_CELL - 3) + "...";
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
