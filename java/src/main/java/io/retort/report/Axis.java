package io.retort.report;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/// One axis of a plot: a range of values widened to round numbers, and where its ticks go.
///
/// A logarithmic axis needs `low > 0`. `position` maps `[low, high]` to `[0, 1]`.
record Axis(double low, double high, boolean logarithmic, List<Double> ticks) {
  private static final int TARGET_TICKS = 6;
  private static final int MOST_DECADE_TICKS = 7;

  /// An axis over `[smallest, largest]`; where `padded`, its ends move outwards to ticks.
  static Axis over(double smallest, double largest, boolean logarithmic, boolean padded) {
    double low = smallest;
    double high = largest;
    if (!(low <= high)) {
      low = logarithmic ? 0.1 : 0;
      high = 1;
    }
    if (low == high) {
      double margin = logarithmic ? 0 : Math.max(Math.abs(low) * 0.1, 1e-9);
      low = logarithmic ? low / 2 : low - margin;
      high = logarithmic ? high * 2 : high + margin;
    }
    return logarithmic ? logarithmic(low, high, padded) : linear(low, high, padded);
  }

  double position(double value) {
    return logarithmic
        ? Math.log(value / low) / Math.log(high / low)
        : (value - low) / (high - low);
  }

  /// Whether the axis can show the value at all.
  boolean shows(double value) {
    return Double.isFinite(value) && (!logarithmic || value > 0);
  }

  private static Axis linear(double low, double high, boolean padded) {
    double step = roundStep((high - low) / TARGET_TICKS);
    long first =
        padded ? (long) Math.floor(low / step + 1e-9) : (long) Math.ceil(low / step - 1e-9);
    long last =
        padded ? (long) Math.ceil(high / step - 1e-9) : (long) Math.floor(high / step + 1e-9);
    var ticks = new ArrayList<Double>();
    for (long i = first; i <= last; i++) {
      ticks.add(i * step);
    }
    return padded
        ? new Axis(first * step, last * step, false, ticks)
        : new Axis(low, high, false, ticks);
  }

  private static Axis logarithmic(double low, double high, boolean padded) {
    double decades = Math.log10(high / low);
    int[] mantissas = decades < 1.2 ? new int[] {1, 2, 3, 4, 5, 6, 8} : new int[] {1, 2, 5};
    if (decades > 2.6) {
      mantissas = new int[] {1};
    }
    int stride = (int) Math.max(1, Math.ceil(decades / MOST_DECADE_TICKS));
    int first = (int) Math.floor(Math.log10(low));
    int last = (int) Math.ceil(Math.log10(high));
    var candidates = new ArrayList<Double>();
    for (int exponent = first; exponent <= last; exponent += stride) {
      for (int mantissa : mantissas) {
        candidates.add(mantissa * Math.pow(10, exponent));
      }
    }
    double bottom = low;
    double top = high;
    if (padded) {
      bottom = candidates.stream().filter(c -> c <= low * 1.0001).reduce(low, (a, b) -> b);
      top = candidates.stream().filter(c -> c >= high * 0.9999).findFirst().orElse(high);
    }
    double from = bottom * 0.9999;
    double to = top * 1.0001;
    return new Axis(
        bottom, top, true, candidates.stream().filter(c -> c >= from && c <= to).toList());
  }

  /// The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `raw`.
  private static double roundStep(double raw) {
    double magnitude = Math.pow(10, Math.floor(Math.log10(raw)));
    for (double factor : new double[] {1, 2, 2.5, 5}) {
      if (raw <= factor * magnitude * 1.000001) {
        return factor * magnitude;
      }
    }
    return 10 * magnitude;
  }

  /// A short form of a number: four significant digits, thousands as `12k`, extremes as `1e-6`.
  static String label(double value) {
    double size = Math.abs(value);
    if (value == 0 || !Double.isFinite(value)) {
      return value == 0 ? "0" : String.valueOf(value);
    }
    if (size >= 1e9 || size < 1e-4) {
      String text = String.format(Locale.ROOT, "%.3e", value);
      return text.replaceFirst("\\.?0*e", "e").replaceFirst("e([+-])0?", "e$1").replace("e+", "e");
    }
    if (size >= 1e6) {
      return significant(value / 1e6) + "M";
    }
    return size >= 1e4 ? significant(value / 1e3) + "k" : significant(value);
  }

  private static String significant(double value) {
    int digits = (int) Math.floor(Math.log10(Math.abs(value))) + 1;
    BigDecimal rounded =
        BigDecimal.valueOf(value).setScale(Math.max(0, 4 - digits), RoundingMode.HALF_UP);
    String text = rounded.stripTrailingZeros().toPlainString();
    return text.startsWith("-") ? "−" + text.substring(1) : text;
  }
}
