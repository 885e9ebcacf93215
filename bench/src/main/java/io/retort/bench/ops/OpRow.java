package io.retort.bench.ops;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.SequencedMap;

/// One timed call.
///
/// @param microseconds of each sample on the device
/// @param hostMicroseconds median time until the call had returned
/// @param distance of its results from the CPU's, relative
/// @param note `emulated, not a timing`, `unstable` or nothing
record OpRow(
    Workload workload,
    Trial trial,
    List<Double> microseconds,
    double hostMicroseconds,
    Roofline.Bound bound,
    double distance,
    String note) {

  double at(double quantile) {
    return quantile(microseconds, quantile);
  }

  /// With linear interpolation.
  static double quantile(List<Double> values, double quantile) {
    List<Double> sorted = values.stream().sorted().toList();
    double place = quantile * (sorted.size() - 1);
    int below = (int) place;
    int above = Math.min(below + 1, sorted.size() - 1);
    return sorted.get(below) + (place - below) * (sorted.get(above) - sorted.get(below));
  }

  double gigabytesPerSecond() {
    return trial.bytes() / at(0.5) / 1e3;
  }

  double teraflopsPerSecond() {
    return trial.flops() / at(0.5) / 1e6;
  }

  double percent() {
    return 100 * bound.microseconds() / at(0.5);
  }

  String precision() {
    return workload.precision().name().toLowerCase(Locale.ROOT);
  }

  /// Its columns in order.
  SequencedMap<String, Object> columns() {
    var columns = new LinkedHashMap<String, Object>();
    columns.put("engine", "retort");
    columns.put("workload", workload.name());
    columns.put("goal", workload.goal());
    columns.put("pass", trial.pass());
    columns.put("precision", precision());
    columns.put("median_us", rounded(at(0.5)));
    columns.put("p20_us", rounded(at(0.2)));
    columns.put("p80_us", rounded(at(0.8)));
    columns.put("host_us", rounded(hostMicroseconds));
    columns.put("samples", microseconds.size());
    columns.put("bytes", (long) trial.bytes());
    columns.put("gb_per_s", rounded(gigabytesPerSecond()));
    columns.put("flops", (long) trial.flops());
    columns.put("tflop_per_s", rounded(teraflopsPerSecond()));
    columns.put("bound_us", rounded(bound.microseconds()));
    columns.put("bound_by", bound.by());
    columns.put("percent_of_bound", rounded(percent()));
    columns.put("distance", distance);
    columns.put("note", note);
    return columns;
  }

  /// To four digits.
  private static double rounded(double value) {
    return value == 0 || !Double.isFinite(value)
        ? value
        : Double.parseDouble(String.format(Locale.ROOT, "%.3e", value));
  }
}
