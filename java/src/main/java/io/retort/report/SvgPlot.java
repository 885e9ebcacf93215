package io.retort.report;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/// A chart as one self-contained SVG: lines, points or bars, readable on paper, in a light and in a
/// dark page.
///
/// ```java
/// SvgPlot.lines("Generator loss").axes("step", "loss").logY().smoothing(0.9)
///     .series("student", steps, losses)
///     .reference("floor", 1.52);
/// ```
///
/// Values that are not finite, or not positive on a logarithmic axis, leave a gap. Pointing at a
/// line chart shows the values there; that is done in CSS, without a script. Long series are
/// thinned to the extremes of every pixel column.
public final class SvgPlot {
  private static final double WIDTH = 580;
  private static final double LEFT = 52;
  private static final double RIGHT = 16;
  private static final double PLOT_HEIGHT = 250;
  private static final double CHARACTER_WIDTH = 6.6;
  private static final int COLUMNS = 480;
  private static final int READOUTS = 60;
  private static final int COLOURS = 8;
  private static final int DASHES = 2;

  private enum Form {
    LINES,
    POINTS,
    BARS
  }

  private record Series(String name, double[] x, double[] y) {}

  private record Reference(String name, double y) {}

  private final Form form;
  private final String title;
  private final List<Series> series = new ArrayList<>();
  private final List<Reference> references = new ArrayList<>();
  private List<String> categories = List.of();
  private String xName = "";
  private String yName = "";
  private boolean logX;
  private boolean logY;
  private double smoothing;

  private SvgPlot(Form form, String title) {
    this.form = form;
    this.title = title;
  }

  /// A chart of curves.
  public static SvgPlot lines(String title) {
    return new SvgPlot(Form.LINES, title);
  }

  /// A chart of points.
  public static SvgPlot scatter(String title) {
    return new SvgPlot(Form.POINTS, title);
  }

  /// A chart of grouped bars, one group per category; bars begin at zero, or at the bottom of a
  /// logarithmic axis.
  public static SvgPlot bars(String title, List<String> categories) {
    var plot = new SvgPlot(Form.BARS, title);
    plot.categories = List.copyOf(categories);
    return plot;
  }

  /// Names the axes; an empty name shows nothing.
  public SvgPlot axes(String x, String y) {
    xName = x;
    yName = y;
    return this;
  }

  public SvgPlot logX() {
    logX = true;
    return this;
  }

  public SvgPlot logY() {
    logY = true;
    return this;
  }

  /// Draws an exponential moving average over the faded curve; `weight` in [0, 1) is that of the
  /// past.
  public SvgPlot smoothing(double weight) {
    if (!(weight >= 0 && weight < 1)) {
      throw new IllegalArgumentException("smoothing must be in [0, 1), got " + weight);
    }
    smoothing = weight;
    return this;
  }

  /// Adds a curve or a cloud of points.
  public SvgPlot series(String name, double[] x, double[] y) {
    if (x.length != y.length) {
      throw new IllegalArgumentException(
          "%s: %d x values but %d y values".formatted(name, x.length, y.length));
    }
    series.add(new Series(name, x.clone(), y.clone()));
    return this;
  }

  /// Adds one bar to every category.
  public SvgPlot series(String name, double... values) {
    if (form != Form.BARS || values.length != categories.size()) {
      throw new IllegalArgumentException(
          "%s: %d values for %d categories".formatted(name, values.length, categories.size()));
    }
    return series(name, IntStream.range(0, values.length).asDoubleStream().toArray(), values);
  }

  /// Adds a dashed horizontal line, such as the value that cannot be beaten.
  public SvgPlot reference(String name, double y) {
    references.add(new Reference(name, y));
    return this;
  }

  public String title() {
    return title;
  }

  /// The chart; the same input gives the same text.
  public String svg() {
    return new Drawing().draw();
  }

  private static String number(double value) {
    return Axis.label(value).replace("−", "-");
  }

  /// The state of one rendering.
  private final class Drawing {
    private final StringBuilder out = new StringBuilder();
    private final Axis xAxis = xAxis();
    private final Axis yAxis = yAxis();
    private final double top = 52 + legendRows() * 18;
    private final double bottom = top + PLOT_HEIGHT;
    private final double height = bottom + (xName.isEmpty() ? 30 : 48);

    String draw() {
      add(
          "<svg class=\"rp\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\""
              + " role=\"img\">",
          WIDTH, height);
      out.append("<title>").append(Html.escape(title)).append("</title>");
      out.append("<style>").append(Html.resource("plot.css")).append("</style>");
      text(LEFT, 18, "h", title);
      legend();
      grid();
      for (int i = 0; i < series.size(); i++) {
        switch (form) {
          case LINES -> curve(i);
          case POINTS -> points(i);
          case BARS -> barsOf(i);
        }
      }
      references.forEach(this::reference);
      if (form == Form.LINES) {
        readouts();
      }
      return out.append("</svg>").toString();
    }

    private Axis xAxis() {
      if (form == Form.BARS) {
        return new Axis(-0.5, categories.size() - 0.5, false, List.of());
      }
      DoubleStream values = series.stream().flatMapToDouble(s -> Arrays.stream(s.x));
      return axis(values, logX, form == Form.POINTS);
    }

    private Axis yAxis() {
      DoubleStream values =
          DoubleStream.concat(
              series.stream().flatMapToDouble(s -> Arrays.stream(s.y)),
              references.stream().mapToDouble(Reference::y));
      return axis(
          form == Form.BARS && !logY ? DoubleStream.concat(values, DoubleStream.of(0)) : values,
          logY,
          true);
    }

    private Axis axis(DoubleStream values, boolean logarithmic, boolean padded) {
      var range =
          values.filter(v -> Double.isFinite(v) && (!logarithmic || v > 0)).summaryStatistics();
      return Axis.over(range.getMin(), range.getMax(), logarithmic, padded);
    }

    private double x(double value) {
      return LEFT + xAxis.position(value) * (WIDTH - LEFT - RIGHT);
    }

    private double y(double value) {
      return bottom - yAxis.position(value) * PLOT_HEIGHT;
    }

    private int legendRows() {
      return layOutLegend(false);
    }

    private void legend() {
      layOutLegend(true);
    }

    /// Flows the names of the series over as many rows as they need, and says how many.
    private int layOutLegend(boolean drawn) {
      if (series.size() < 2) {
        return 0;
      }
      int row = 0;
      double at = LEFT;
      for (int i = 0; i < series.size(); i++) {
        double width = 26 + series.get(i).name.length() * CHARACTER_WIDTH;
        if (at > LEFT && at + width > WIDTH - RIGHT) {
          row++;
          at = LEFT;
        }
        if (drawn) {
          double middle = 34 + row * 18;
          if (form == Form.LINES) {
            add(
                "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%3$.1f\"/>",
                stroke(i), at, middle, at + 12);
          } else {
            add(
                "<rect class=\"f%d\" x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"4\" rx=\"2\"/>",
                i % COLOURS, at, middle - 2);
          }
          text(at + 17, middle + 4, "l", series.get(i).name);
        }
        at += width;
      }
      return row + 1;
    }

    private void grid() {
      text(LEFT, top - 8, "a", yName);
      for (double tick : yAxis.ticks()) {
        double at = y(tick);
        add("<path class=\"g\" d=\"M%.1f %.1fH%.1f\"/>", LEFT, at, WIDTH - RIGHT);
        text(LEFT - 8, at + 4, "t e", Axis.label(tick));
      }
      for (double tick : xAxis.ticks()) {
        double at = x(tick);
        add("<path class=\"k\" d=\"M%.1f %.1fv5\"/>", at, bottom);
        text(at, bottom + 18, "t m", Axis.label(tick));
      }
      for (int i = 0; i < categories.size(); i++) {
        int room = (int) ((WIDTH - LEFT - RIGHT) / categories.size() / CHARACTER_WIDTH);
        text(x(i), bottom + 18, "t m", shortened(categories.get(i), room));
      }
      add("<path class=\"k\" d=\"M%.1f %.1fH%.1f\"/>", LEFT, bottom, WIDTH - RIGHT);
      text((LEFT + WIDTH - RIGHT) / 2, bottom + 38, "a m", xName);
    }

    private void curve(int i) {
      Series raw = series.get(i);
      if (smoothing > 0) {
        path(stroke(i) + " raw", raw);
        path(stroke(i), new Series(raw.name, raw.x, smoothed(raw.y)));
      } else {
        path(stroke(i), raw);
      }
    }

    /// The style of a curve: colours come again with dashes.
    private static String stroke(int i) {
      return i < COLOURS
          ? "s" + i
          : "s%d d%d".formatted(i % COLOURS, Math.min(i / COLOURS, DASHES));
    }

    private void path(String style, Series curve) {
      double[] xs = curve.x;
      double[] ys = curve.y;
      add("<path class=\"%s\" d=\"", style);
      boolean pen = false;
      for (int j : thinned(xs, ys)) {
        if (xAxis.shows(xs[j]) && yAxis.shows(ys[j])) {
          add("%s%.1f %.1f", pen ? "L" : "M", x(xs[j]), y(ys[j]));
          pen = true;
        } else {
          pen = false;
        }
      }
      out.append("\"><title>").append(Html.escape(curve.name)).append("</title></path>");
    }

    /// All indices, or for a long series the extremes of every pixel column and every gap.
    private int[] thinned(double[] xs, double[] ys) {
      if (ys.length <= 2 * COLUMNS) {
        return IntStream.range(0, ys.length).toArray();
      }
      var kept = IntStream.builder();
      for (int column = 0; column < COLUMNS; column++) {
        int from = (int) ((long) ys.length * column / COLUMNS);
        int to = (int) ((long) ys.length * (column + 1) / COLUMNS);
        int least = -1;
        int most = -1;
        int gap = -1;
        for (int j = from; j < to; j++) {
          if (!xAxis.shows(xs[j]) || !yAxis.shows(ys[j])) {
            gap = j;
            continue;
          }
          least = least < 0 || ys[j] < ys[least] ? j : least;
          most = most < 0 || ys[j] > ys[most] ? j : most;
        }
        IntStream.of(least, most, gap).filter(j -> j >= 0).sorted().distinct().forEach(kept);
      }
      return kept.build().toArray();
    }

    /// The exponential moving average without its bias towards zero at the start.
    private double[] smoothed(double[] values) {
      var smooth = new double[values.length];
      double sum = 0;
      double weight = 0;
      for (int j = 0; j < values.length; j++) {
        if (yAxis.shows(values[j])) {
          sum = smoothing * sum + (1 - smoothing) * values[j];
          weight = smoothing * weight + (1 - smoothing);
          smooth[j] = sum / weight;
        } else {
          smooth[j] = Double.NaN;
        }
      }
      return smooth;
    }

    private void points(int i) {
      Series cloud = series.get(i);
      for (int j = 0; j < cloud.x.length; j++) {
        if (xAxis.shows(cloud.x[j]) && yAxis.shows(cloud.y[j])) {
          add(
              "<circle class=\"p f%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>%s: %s,"
                  + " %s</title></circle>",
              i % COLOURS,
              x(cloud.x[j]),
              y(cloud.y[j]),
              Html.escape(cloud.name),
              number(cloud.x[j]),
              number(cloud.y[j]));
        }
      }
    }

    private void barsOf(int i) {
      Series bars = series.get(i);
      double group = (WIDTH - LEFT - RIGHT) / categories.size() * 0.8;
      double width = Math.min(group / series.size(), 56);
      for (int j = 0; j < bars.y.length; j++) {
        if (yAxis.shows(bars.y[j])) {
          double at = x(j) + (i - series.size() / 2.0) * width;
          double end = y(bars.y[j]);
          double start = logY ? bottom : y(0);
          add(
              "<rect class=\"f%d\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\""
                  + " rx=\"2\"><title>%s: %s</title></rect>",
              i % COLOURS,
              at + 1,
              Math.min(start, end),
              width - 2,
              Math.abs(start - end),
              Html.escape(bars.name),
              number(bars.y[j]));
          if (width >= 24) {
            text(at + width / 2, Math.min(start, end) - 5, "t m", Axis.label(bars.y[j]));
          }
        }
      }
    }

    private void reference(Reference line) {
      if (yAxis.shows(line.y)) {
        double at = y(line.y);
        add("<path class=\"r\" d=\"M%.1f %.1fH%.1f\"/>", LEFT, at, WIDTH - RIGHT);
        text(LEFT + 6, at - 5, "t b", line.name + " " + Axis.label(line.y));
      }
    }

    /// Invisible columns over the plot; the one under the pointer shows a guide and every curve's
    /// value there.
    private void readouts() {
      if (series.size() > COLOURS) {
        return; // too many to print in one line: each curve says its name
      }
      List<Series> curves =
          smoothing == 0
              ? series
              : series.stream().map(s -> new Series(s.name, s.x, smoothed(s.y))).toList();
      double step = (WIDTH - LEFT - RIGHT) / READOUTS;
      for (int column = 0; column < READOUTS; column++) {
        double from = LEFT + column * step;
        var shown = new StringBuilder();
        var dots = new StringBuilder();
        for (int i = 0; i < series.size(); i++) {
          int j = nearest(curves.get(i), from + step / 2, step / 2);
          if (j >= 0) {
            Series curve = curves.get(i);
            if (shown.isEmpty()) {
              shown.append(xName.isEmpty() ? "" : xName + " ").append(Axis.label(curve.x[j]));
            }
            shown.append("   ");
            shown.append(series.size() > 1 ? curve.name + " " : "").append(Axis.label(curve.y[j]));
            dots.append(
                String.format(
                    Locale.ROOT,
                    "<circle class=\"f%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/>",
                    i % COLOURS,
                    x(curve.x[j]),
                    y(curve.y[j])));
          }
        }
        if (!shown.isEmpty()) {
          add(
              "<g class=\"q\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\"/>",
              from, top, step, PLOT_HEIGHT);
          add("<path d=\"M%.1f %.1fV%.1f\"/>", from + step / 2, top, bottom);
          out.append(dots);
          text(WIDTH - RIGHT, top - 8, "l e", shown.toString());
          out.append("</g>");
        }
      }
    }

    /// The visible point of the curve closest to the pixel column, or -1 where it has none within
    /// reach.
    private int nearest(Series curve, double pixel, double reach) {
      int best = -1;
      double distance = Math.max(reach, (WIDTH - LEFT - RIGHT) / Math.max(curve.x.length, 1));
      for (int j = 0; j < curve.x.length; j++) {
        if (xAxis.shows(curve.x[j]) && yAxis.shows(curve.y[j])) {
          double away = Math.abs(x(curve.x[j]) - pixel);
          if (away <= distance) {
            distance = away;
            best = j;
          }
        }
      }
      return best;
    }

    private void text(double x, double y, String style, String content) {
      if (!content.isEmpty()) {
        add(
            "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">%s</text>",
            style, x, y, Html.escape(content));
      }
    }

    private void add(String format, Object... arguments) {
      out.append(String.format(Locale.ROOT, format, arguments));
    }

    private static String shortened(String text, int room) {
      return text.length() <= Math.max(room, 3)
          ? text
          : text.substring(0, Math.max(room, 3) - 1) + "…";
    }
  }
}
