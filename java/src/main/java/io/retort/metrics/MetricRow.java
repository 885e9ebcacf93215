package io.retort.metrics;

import java.util.Collections;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SequencedMap;

/// The numbers of one set of images: which sampler, how many network evaluations, how many images.
///
/// @param name `floor`, `teacher`, `teacher_one_step`, `student`, `student_without_el`, ...
/// @param nfe network evaluations per image; 0 for real images
/// @param n number of images behind every number of the row
/// @param values what was computed; a metric that is absent was not
public record MetricRow(String name, int nfe, int n, Map<Metric, Double> values) {

  /// Name of the row of held-out real images.
  public static final String FLOOR = "floor";

  /// @throws IllegalArgumentException if a value is not finite: it would not survive JSON
  public MetricRow {
    if (name.isBlank() || nfe < 0 || n < 0) {
      throw new IllegalArgumentException(
          "metric row: name must not be blank and nfe and n not negative, got '%s', %d, %d"
              .formatted(name, nfe, n));
    }
    var copy = new EnumMap<Metric, Double>(Metric.class);
    values.forEach((metric, value) -> {
      if (!Double.isFinite(value)) {
        throw new IllegalArgumentException(
            "metric row: %s of %s must be finite, got %s".formatted(metric.key(), name, value));
      }
      copy.put(metric, value);
    });
    values = Collections.unmodifiableMap(copy);
  }

  /// A row without numbers yet.
  public static MetricRow of(String name, int nfe, int n) {
    return new MetricRow(name, nfe, n, Map.of());
  }

  /// The number, or NaN if it was not computed.
  public double value(Metric metric) {
    return values.getOrDefault(metric, Double.NaN);
  }

  /// This row with one more number; NaN means "not computed" and leaves it out.
  public MetricRow with(Metric metric, double value) {
    var more = new EnumMap<Metric, Double>(Metric.class);
    more.putAll(values);
    if (Double.isNaN(value)) {
      more.remove(metric);
    } else {
      more.put(metric, value);
    }
    return new MetricRow(name, nfe, n, more);
  }

  /// True for the row of held-out real images, which competes with nobody.
  public boolean isFloor() {
    return name.equals(FLOOR);
  }

  /// The row as `summary.json` has it: `name`, `nfe`, `n`, then the computed numbers by
  /// [Metric#key].
  public SequencedMap<String, Object> json() {
    var json = new LinkedHashMap<String, Object>();
    json.put("name", name);
    json.put("nfe", nfe);
    json.put("n", n);
    values.forEach((metric, value) -> json.put(metric.key(), value));
    return json;
  }
}
