package io.retort.report;

import io.retort.data.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/// How a run ended, as its `summary.json` says.
///
/// @param seed -1 where the file states none
/// @param wallSeconds whole duration
/// @param rows numbers of each row by their keys
record RunSummary(
    long seed, long steps, double wallSeconds, SequencedMap<String, Map<String, Double>> rows) {

  /// The summary of a run; empty for one that has not ended.
  ///
  /// @throws RunException if it cannot be read
  static Optional<RunSummary> of(Path run) {
    Path file = run.resolve(RunDirectory.SUMMARY);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    try {
      Map<String, @Nullable Object> json = Json.parseObject(Files.readString(file));
      SequencedMap<String, Map<String, Double>> rows = new LinkedHashMap<>();
      if (json.get("rows") instanceof List<?> list) {
        list.forEach(row -> addRow(rows, row));
      }
      return Optional.of(
          new RunSummary(
              (long) number(json.get("seed"), -1),
              (long) number(json.get("steps"), 0),
              number(json.get("wall_seconds"), Double.NaN),
              rows));
    } catch (IOException | Json.JsonException failure) {
      throw new RunException(run, "has a %s that cannot be read".formatted(file));
    }
  }

  /// A number of a row; empty where it was not measured.
  OptionalDouble value(String row, String key) {
    @Nullable Double value = rows.getOrDefault(row, Map.of()).get(key);
    return value == null ? OptionalDouble.empty() : OptionalDouble.of(value);
  }

  private static void addRow(SequencedMap<String, Map<String, Double>> rows, Object row) {
    if (row instanceof Map<?, ?> values && values.get("name") instanceof String name) {
      Map<String, Double> numbers = new LinkedHashMap<>();
      values.forEach((key, value) -> {
        if (key instanceof String text && value instanceof Number number) {
          numbers.put(text, number.doubleValue());
        }
      });
      rows.put(name, numbers);
    }
  }

  private static double number(@Nullable Object value, double missing) {
    return value instanceof Number number ? number.doubleValue() : missing;
  }
}
