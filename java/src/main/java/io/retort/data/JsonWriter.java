package io.retort.data;

import java.io.IOException;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/// Writes values as JSON, one after the other: what is written of a value is not kept.
final class JsonWriter {
  private static final int MAX_DEPTH = 64;

  private final Appendable out;
  private final boolean indented;

  /// @param indented two spaces a level, short arrays of scalars on one line; otherwise one line
  JsonWriter(Appendable out, boolean indented) {
    this.out = out;
    this.indented = indented;
  }

  /// Appends `value`, which is that deep in others.
  void append(@Nullable Object value, int depth) throws IOException {
    if (depth > MAX_DEPTH) {
      throw new IllegalArgumentException("value nested deeper than " + MAX_DEPTH);
    }
    switch (value) {
      case null -> out.append("null");
      case String text -> quote(text);
      case Boolean flag -> out.append(flag.toString());
      case Double number -> out.append(Double.isFinite(number) ? number.toString() : "null");
      case Float number -> out.append(Float.isFinite(number) ? number.toString() : "null");
      case Number number -> out.append(number.toString());
      case Enum<?> constant -> quote(constant.name().toLowerCase(Locale.ROOT));
      case Map<?, ?> map -> map(map, depth);
      case Iterable<?> items -> list(items, depth);
      case double[] numbers -> list(Arrays.stream(numbers).boxed().toList(), depth);
      case long[] numbers -> list(Arrays.stream(numbers).boxed().toList(), depth);
      case int[] numbers -> list(IntStream.of(numbers).boxed().toList(), depth);
      default ->
          throw new IllegalArgumentException("no JSON form for " + value.getClass().getName());
    }
  }

  private void map(Map<?, ?> map, int depth) throws IOException {
    out.append('{');
    String separator = "";
    for (var entry : map.entrySet()) {
      out.append(separator);
      newLine(depth + 1);
      quote(String.valueOf(entry.getKey()));
      out.append(indented ? ": " : ":");
      append(entry.getValue(), depth + 1);
      separator = ",";
    }
    if (!separator.isEmpty()) {
      newLine(depth);
    }
    out.append('}');
  }

  private void list(Iterable<?> items, int depth) throws IOException {
    boolean broken = indented && holdsOthers(items);
    out.append('[');
    String separator = "";
    for (Object item : items) {
      out.append(separator);
      if (broken) {
        newLine(depth + 1);
      }
      append(item, depth + 1);
      separator = indented && !broken ? ", " : ",";
    }
    if (broken) {
      newLine(depth);
    }
    out.append(']');
  }

  private static boolean holdsOthers(Iterable<?> items) {
    for (Object item : items) {
      if (item instanceof Map<?, ?> || item instanceof Iterable<?>) {
        return true;
      }
    }
    return false;
  }

  private void newLine(int depth) throws IOException {
    if (indented) {
      out.append('\n').append("  ".repeat(depth));
    }
  }

  private void quote(String text) throws IOException {
    out.append('"');
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      switch (c) {
        case '"' -> out.append("\\\"");
        case '\\' -> out.append("\\\\");
        case '\b' -> out.append("\\b");
        case '\f' -> out.append("\\f");
        case '\n' -> out.append("\\n");
        case '\r' -> out.append("\\r");
        case '\t' -> out.append("\\t");
        default -> {
          if (c < 0x20) {
            out.append("\\u00").append(Character.forDigit(c >> 4, 16));
            out.append(Character.forDigit(c & 15, 16));
          } else {
            out.append(isLoneSurrogate(text, i) ? '\ufffd' : c);
          }
        }
      }
    }
    out.append('"');
  }

  private static boolean isLoneSurrogate(String text, int i) {
    char c = text.charAt(i);
    if (Character.isHighSurrogate(c)) {
      return i + 1 == text.length() || !Character.isLowSurrogate(text.charAt(i + 1));
    }
    return Character.isLowSurrogate(c)
        && (i == 0 || !Character.isHighSurrogate(text.charAt(i - 1)));
  }
}
