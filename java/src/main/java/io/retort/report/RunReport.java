package io.retort.report;

import io.retort.data.Dataset;
import io.retort.data.Images;
import io.retort.distill.Distillation;
import io.retort.metrics.Metric;
import io.retort.metrics.MetricRow;
import io.retort.metrics.MetricTable;
import io.retort.recipe.Recipe;
import io.retort.recipe.RecipeWriter;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/// The page of a finished run: claims with their numbers, pictures from the same noise, curves,
/// table, recipe, machine.
final class RunReport {
  /// Bounds a one-step student has to keep, relative to its teacher.
  private static final double FRECHET_TO_TEACHER = 1.5;

  private static final double FRECHET_TO_ONE_STEP = 0.2;
  private static final double PRECISION_AND_RECALL = 0.8;
  private static final double SPEED = 25;

  private static final double SMOOTHING = 0.95;
  private static final int ZOOM = 2;
  private static final int MOST_POINTS = 2000;

  private RunReport() {}

  static HtmlReport of(
      Recipe recipe,
      Dataset data,
      RunDirectory directory,
      RunResults results,
      Map<String, Object> environment) {
    HtmlReport report =
        HtmlReport.titled(title(recipe))
            .lead(lead(recipe, data))
            .facts(facts(recipe, results))
            .footer("retort resume, sample and eval take " + directory.path() + " as their model");
    results.table().ifPresent(table -> claims(report, recipe, table));
    pictures(report, data, results);
    results.table().ifPresent(table -> numbers(report, table));
    results
        .unmeasured()
        .ifPresent(reason -> report.section("Metrics").text("None: " + reason + "."));
    curves(report, directory);
    report.section("Recipe").pre(RunDirectory.RECIPE, RecipeWriter.yaml(recipe));
    report
        .section("Environment")
        .table(
            List.of("what", "value"),
            environment.entrySet().stream()
                .map(fact -> List.of(fact.getKey(), String.valueOf(fact.getValue())))
                .toList(),
            "");
    return report;
  }

  private static String title(Recipe recipe) {
    return switch (recipe.kind().goal()) {
      case TEACHER -> "A teacher for " + recipe.data();
      case STUDENT -> "A %s-step student for %s".formatted(steps(recipe), recipe.data());
      case METRIC_NET -> "A metric net for " + recipe.data();
    };
  }

  private static String lead(Recipe recipe, Dataset data) {
    String what =
        switch (recipe.kind().goal()) {
          case TEACHER -> "A diffusion model trained";
          case STUDENT ->
              "A multi-step teacher distilled by %s into a student of %s network evaluation%s"
                  .formatted(
                      recipe.method(), steps(recipe), steps(recipe).equals("one") ? "" : "s");
          case METRIC_NET -> "A classifier trained";
        };
    return "%s for %d steps with seed %d on %s (%s)."
        .formatted(what, recipe.steps(), recipe.seed(), data.name(), data.card().source());
  }

  private static String steps(Recipe recipe) {
    int steps =
        recipe.settings() instanceof Distillation distillation ? distillation.levels().size() : 1;
    return steps == 1 ? "one" : Integer.toString(steps);
  }

  private static SequencedMap<String, String> facts(Recipe recipe, RunResults results) {
    SequencedMap<String, String> facts = new LinkedHashMap<>();
    results
        .table()
        .flatMap(table -> row(table, Generators.STUDENT))
        .ifPresent(student -> {
          facts.put("student Fréchet-LeNet", format(student.value(Metric.FRECHET_LENET)));
          facts.put("student images/s", format(student.value(Metric.IMAGES_PER_SECOND)));
        });
    results
        .table()
        .flatMap(table -> row(table, Generators.TEACHER))
        .ifPresent(teacher ->
            facts.put("teacher Fréchet-LeNet", format(teacher.value(Metric.FRECHET_LENET))));
    results
        .accuracy()
        .ifPresent(accuracy ->
            facts.put("held-out accuracy", String.format(Locale.ROOT, "%.2f %%", 100 * accuracy)));
    facts.put("wall time", StepLog.span(results.wallSeconds()));
    facts.put("steps", Long.toString(recipe.steps()));
    facts.put("training images/s", format(results.trainingImagesPerSecond()));
    return facts;
  }

  private static void claims(HtmlReport report, Recipe recipe, MetricTable table) {
    Optional<MetricRow> teacher = row(table, Generators.TEACHER);
    Optional<MetricRow> oneStep = row(table, Generators.TEACHER_ONE_STEP);
    Optional<MetricRow> student = row(table, Generators.STUDENT);
    if (teacher.isEmpty() || oneStep.isEmpty() || student.isEmpty()) {
      return;
    }
    report.section("What was to be reached");
    atMost(
        report,
        "Fréchet-LeNet at most 1.5 times the teacher's",
        Metric.FRECHET_LENET,
        student.get(),
        teacher.get(),
        FRECHET_TO_TEACHER);
    atMost(
        report,
        "Fréchet-LeNet at most a fifth of the teacher's in one step",
        Metric.FRECHET_LENET,
        student.get(),
        oneStep.get(),
        FRECHET_TO_ONE_STEP);
    atLeast(
        report,
        "Precision at least 0.8 times the teacher's",
        Metric.PRECISION,
        student.get(),
        teacher.get(),
        PRECISION_AND_RECALL);
    atLeast(
        report,
        "Recall at least 0.8 times the teacher's",
        Metric.RECALL,
        student.get(),
        teacher.get(),
        PRECISION_AND_RECALL);
    if (steps(recipe).equals("one")) {
      atLeast(
          report,
          "At least 25 times the teacher's images per second",
          Metric.IMAGES_PER_SECOND,
          student.get(),
          teacher.get(),
          SPEED);
    }
  }

  private static void atMost(
      HtmlReport report,
      String claim,
      Metric metric,
      MetricRow ours,
      MetricRow base,
      double bound) {
    report.claim(
        claim, ours.value(metric) <= bound * base.value(metric), measured(metric, ours, base));
  }

  private static void atLeast(
      HtmlReport report,
      String claim,
      Metric metric,
      MetricRow ours,
      MetricRow base,
      double bound) {
    report.claim(
        claim, ours.value(metric) >= bound * base.value(metric), measured(metric, ours, base));
  }

  private static String measured(Metric metric, MetricRow ours, MetricRow base) {
    double own = ours.value(metric);
    double other = base.value(metric);
    return "%s %s, %s %s: ratio %s"
        .formatted(ours.name(), format(own), base.name(), format(other), format(own / other));
  }

  private static void pictures(HtmlReport report, Dataset data, RunResults results) {
    if (results.pictures().isEmpty()) {
      return;
    }
    report.section("The same noise, the same classes");
    results
        .pictures()
        .forEach(
            (name, images) -> report.image(RunPictures.SHEET.png(images), caption(name), ZOOM));
    Images like = results.pictures().firstEntry().getValue();
    report.image(RunPictures.SHEET.png(real(data.test(), like)), "held-out real images", ZOOM);
  }

  private static String caption(String name) {
    return name.replace('_', ' ');
  }

  /// Real images of the classes of `like`, each one once.
  private static Images real(Images from, Images like) {
    int[] chosen = new int[like.count()];
    Set<Integer> used = new HashSet<>();
    for (int i = 0; i < chosen.length; i++) {
      int wanted = like.label(i);
      chosen[i] =
          IntStream.range(0, from.count())
              .filter(at -> from.label(at) == wanted && !used.contains(at))
              .findFirst()
              .orElse(i % from.count());
      used.add(chosen[i]);
    }
    return from.select(chosen);
  }

  private static void numbers(HtmlReport report, MetricTable table) {
    List<List<MetricTable.Cell>> cells = table.cells();
    Set<Integer> student =
        IntStream.range(0, cells.size())
            .filter(i -> table.rows().get(i).name().equals(Generators.STUDENT))
            .boxed()
            .collect(Collectors.toSet());
    report
        .section("Metrics")
        .table(
            table.header(),
            cells.stream().map(row -> row.stream().map(MetricTable.Cell::text).toList()).toList(),
            student,
            String.join(" ", table.notes()));
    List<MetricRow> timed =
        table.rows().stream()
            .filter(row -> row.values().containsKey(Metric.IMAGES_PER_SECOND))
            .toList();
    if (!timed.isEmpty()) {
      report.plot(
          SvgPlot.bars("Seconds per image", timed.stream().map(row -> caption(row.name())).toList())
              .axes("", "s")
              .logY()
              .series(
                  "seconds",
                  timed.stream()
                      .mapToDouble(row -> 1 / row.value(Metric.IMAGES_PER_SECOND))
                      .toArray()));
    }
  }

  private static void curves(HtmlReport report, RunDirectory directory) {
    List<Map<String, @Nullable Object>> lines =
        MetricsLog.read(directory.file(RunDirectory.METRICS));
    Set<String> columns = new LinkedHashSet<>();
    lines.forEach(line -> columns.addAll(line.keySet()));
    columns.removeIf(column -> !column.contains("/"));
    report.section("Curves");
    for (String column : columns) {
      boolean norm = column.endsWith(StepLog.GRADIENT_NORM);
      SvgPlot plot = SvgPlot.lines(column.replace('_', ' ')).axes("step", "");
      List<double[]> points = thinned(points(lines, column));
      if (!column.startsWith(RunQuality.PREFIX)) {
        plot.smoothing(SMOOTHING);
      }
      if (!points.isEmpty()) {
        double[] x = points.stream().mapToDouble(point -> point[0]).toArray();
        double[] y = points.stream().mapToDouble(point -> point[1]).toArray();
        report.plot((norm ? plot.logY() : plot).series(column, x, y));
      }
    }
  }

  private static List<double[]> points(List<Map<String, @Nullable Object>> lines, String column) {
    List<double[]> points = new ArrayList<>();
    for (Map<String, @Nullable Object> line : lines) {
      if (line.get("step") instanceof Number step && line.get(column) instanceof Number value) {
        points.add(new double[] {step.doubleValue(), value.doubleValue()});
      }
    }
    return points;
  }

  /// Means of as many neighbours as keep the page small.
  private static List<double[]> thinned(List<double[]> points) {
    int group = Math.ceilDiv(Math.max(1, points.size()), MOST_POINTS);
    List<double[]> means = new ArrayList<>();
    for (int from = 0; from < points.size(); from += group) {
      List<double[]> part = points.subList(from, Math.min(from + group, points.size()));
      means.add(
          new double[] {
            part.getLast()[0], part.stream().mapToDouble(point -> point[1]).average().orElse(0)
          });
    }
    return means;
  }

  private static Optional<MetricRow> row(MetricTable table, String name) {
    return table.rows().stream().filter(row -> row.name().equals(name)).findFirst();
  }

  private static String format(double value) {
    return MetricTable.format(value);
  }
}
