package io.retort.report;

import io.retort.checkpoint.AtomicFile;
import io.retort.metrics.Metric;
import io.retort.metrics.MetricTable;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/// Runs side by side: the quality each reached after so many steps and seconds, medians over the
/// runs of one name.
///
/// Reads the `quality/...` columns that a run writes with `evaluation.every` above 0.
public final class RunComparison {

  /// What can be compared: what runs watch while they train.
  public static final List<Metric> METRICS = RunQuality.WATCHED;

  /// One measurement.
  ///
  /// @param wall seconds since the run began
  private record Point(long step, double wall, double value) {}

  /// One run.
  private record Curve(Path run, String name, Optional<RunSummary> summary, List<Point> points) {}

  /// Runs without an idea of those of another name.
  private record Control(String of, String label) {}

  private final Metric metric;
  private final SequencedMap<String, List<Curve>> groups = new LinkedHashMap<>();
  private final SequencedMap<String, Control> controls = new LinkedHashMap<>();

  /// @param metric what is compared, one of [#METRICS]
  public RunComparison(Metric metric) {
    this.metric = metric;
  }

  /// Adds a run under a name; runs of one name differ in their seed.
  ///
  /// @throws RunException if the folder holds no measured run
  public RunComparison add(String name, Path run) {
    Path log = run.resolve(RunDirectory.METRICS);
    if (!Files.isRegularFile(log)) {
      throw new RunException(run, "holds no run: there is no " + RunDirectory.METRICS);
    }
    List<Point> points = new ArrayList<>();
    for (Map<String, @Nullable Object> line : MetricsLog.read(log)) {
      if (line.get("step") instanceof Number step
          && line.get(RunQuality.PREFIX + metric.key()) instanceof Number value
          && line.get(StepLog.WALL) instanceof Number wall) {
        points.add(new Point(step.longValue(), wall.doubleValue(), value.doubleValue()));
      }
    }
    if (points.isEmpty()) {
      throw new RunException(
          run, "was not measured while it trained; run it with --set evaluation.every=N");
    }
    groups
        .computeIfAbsent(name, _ -> new ArrayList<>())
        .add(new Curve(run, run.getFileName().toString(), RunSummary.of(run), points));
    return this;
  }

  /// Adds a run of another name without one idea of its method; its curve is in the numbers, not in
  /// the figures.
  ///
  /// @param label what it lacks, such as `without_el`
  public RunComparison addControl(String of, String label, Path run) {
    String name = of + " " + label.replace('_', ' ');
    controls.put(name, new Control(of, label));
    return add(name, run);
  }

  /// How the runs ended, then medians and every run's value, a row for each name and measured step.
  public String markdown() {
    StringBuilder text = new StringBuilder();
    Standings standings = standings();
    if (!standings.isEmpty()) {
      text.append("%s, median (each run)".formatted(metric.heading()));
      standings.beside().ifPresent(rows -> text.append("; ").append(rows));
      text.append("\n\n").append(line(Standings.HEADINGS));
      text.append("|---".repeat(Standings.HEADINGS.size())).append("|\n");
      standings.rows().forEach(row -> text.append(line(row)));
      text.append('\n');
    }
    text.append("| run | steps | %s, median (each run) |\n".formatted(metric.heading()));
    text.append("|---|---|---|\n");
    groups.forEach((name, curves) ->
        values(curves)
            .forEach((step, values) ->
                text.append(
                    "| %s | %d | **%s** (%s) |\n"
                        .formatted(
                            name,
                            step,
                            MetricTable.format(Standings.median(values)),
                            each(values)))));
    return text.toString();
  }

  private static String line(List<String> cells) {
    return "| " + String.join(" | ", cells) + " |\n";
  }

  /// How the runs ended; without those of which one has not.
  private Standings standings() {
    Standings standings = new Standings(metric);
    groups.forEach((name, curves) -> {
      List<RunSummary> ends =
          curves.stream().map(Curve::summary).flatMap(Optional::stream).toList();
      @Nullable Control control = controls.get(name);
      if (ends.size() < curves.size()) {
        return;
      }
      if (control == null) {
        standings.add(name, ends);
      } else {
        standings.addControl(control.of, control.label, ends);
      }
    });
    return standings;
  }

  /// Every measurement as `name,run,seed,step,wall_seconds,VALUE`.
  private String csv() {
    StringBuilder text =
        new StringBuilder("name,run,seed,step,wall_seconds,%s\n".formatted(metric.key()));
    groups.forEach((name, curves) -> {
      for (Curve curve : curves) {
        for (Point point : curve.points) {
          text.append(
              String.format(
                  Locale.ROOT,
                  "%s,%s,%d,%d,%.1f,%.5g\n",
                  name,
                  curve.name,
                  curve.summary.map(RunSummary::seed).orElse(-1L),
                  point.step,
                  point.wall,
                  point.value));
        }
      }
    });
    return text.toString();
  }

  /// What figures and pictures show: everything but controls.
  private SequencedMap<String, List<Curve>> shown() {
    SequencedMap<String, List<Curve>> shown = new LinkedHashMap<>(groups);
    controls.sequencedKeySet().forEach(shown::remove);
    return shown;
  }

  /// The medians over steps.
  private SvgPlot bySteps() {
    SvgPlot plot = SvgPlot.lines(metric.heading() + " by steps").axes("step", "").logY();
    shown()
        .forEach((name, curves) -> {
          SortedMap<Long, double[]> values = values(curves);
          plot.series(
              name,
              values.keySet().stream().mapToDouble(Long::doubleValue).toArray(),
              values.values().stream().mapToDouble(Standings::median).toArray());
        });
    return plot;
  }

  /// The medians over wall time, itself a median over the runs.
  private SvgPlot byWall() {
    SvgPlot plot = SvgPlot.lines(metric.heading() + " by wall time").axes("seconds", "").logY();
    shown()
        .forEach((name, curves) -> {
          SortedMap<Long, double[]> values = values(curves);
          double[] seconds =
              values.keySet().stream()
                  .mapToDouble(
                      step -> Standings.median(at(curves, step).mapToDouble(Point::wall).toArray()))
                  .toArray();
          plot.series(
              name, seconds, values.values().stream().mapToDouble(Standings::median).toArray());
        });
    return plot;
  }

  /// Writes page, figure, table and values into a folder.
  ///
  /// @return the files, the page first
  public List<Path> writeTo(Path folder) {
    SequencedMap<String, String> contents = new LinkedHashMap<>();
    contents.put("comparison.html", page().html());
    contents.put("comparison.svg", bySteps().svg());
    contents.put("comparison-wall.svg", byWall().svg());
    contents.put("comparison-samples.svg", samples().svg());
    contents.put("comparison.md", markdown());
    contents.put("comparison.csv", csv());
    try {
      Files.createDirectories(folder);
      for (Map.Entry<String, String> file : contents.entrySet()) {
        AtomicFile.write(
            folder.resolve(file.getKey()), file.getValue().getBytes(StandardCharsets.UTF_8));
      }
    } catch (IOException failure) {
      throw AtomicFile.failure(folder, failure);
    }
    return contents.sequencedKeySet().stream().map(folder::resolve).toList();
  }

  /// The page with curves and table.
  private HtmlReport page() {
    List<List<String>> rows = new ArrayList<>();
    groups.forEach((name, curves) ->
        values(curves)
            .forEach((step, values) ->
                rows.add(
                    List.of(
                        name,
                        Long.toString(step),
                        MetricTable.format(Standings.median(values)),
                        each(values)))));
    HtmlReport page =
        HtmlReport.titled("Runs side by side")
            .lead("%s, medians over the runs of one name.".formatted(metric.heading()))
            .section("Curves")
            .plot(bySteps(), byWall());
    Standings standings = standings();
    if (!standings.isEmpty()) {
      page.section("At the end")
          .table(
              Standings.HEADINGS,
              standings.rows().stream()
                  .map(row -> row.stream().map(cell -> cell.replace("**", "")).toList())
                  .toList(),
              standings.beside().orElse(""));
    }
    SampleStrips samples = samples();
    if (!samples.isEmpty()) {
      page.section("Samples, from the same noise").svg(samples.svg());
    }
    return page.section("While they trained")
        .table(List.of("run", "steps", "median", "each run"), rows, "");
  }

  /// What the first run of each name drew last.
  private SampleStrips samples() {
    SampleStrips strips = new SampleStrips();
    shown().forEach((name, curves) -> strips.add(name, curves.getFirst().run));
    return strips;
  }

  /// Values of the runs by step, where every run of the name has one.
  private static SortedMap<Long, double[]> values(List<Curve> curves) {
    SortedMap<Long, double[]> values = new TreeMap<>();
    for (Point point : curves.getFirst().points) {
      double[] found = at(curves, point.step).mapToDouble(Point::value).toArray();
      if (found.length == curves.size()) {
        values.put(point.step, found);
      }
    }
    return values;
  }

  private static Stream<Point> at(List<Curve> curves, long step) {
    return curves.stream()
        .flatMap(curve -> curve.points.stream().filter(point -> point.step == step).limit(1));
  }

  private static String each(double[] values) {
    return Arrays.stream(values).mapToObj(MetricTable::format).collect(Collectors.joining(", "));
  }
}
