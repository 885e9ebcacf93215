package io.retort.cli;

import io.retort.metrics.Metric;
import io.retort.recipe.BuiltIn;
import io.retort.recipe.Recipe;
import io.retort.recipe.RecipeReader;
import io.retort.report.Run;
import io.retort.report.RunComparison;
import io.retort.report.RunException;
import io.retort.report.RunOutcome;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `retort compare`: how good several runs were after so many steps and seconds.
///
/// A recipe in place of runs is carried out first, once per seed, below `--out`; what is there
/// already is kept, so that a comparison that was stopped goes on.
@Command(
    description =
        "Compares runs that measured themselves (--set evaluation.every=N), or recipes, in one"
            + " page.",
    footer = {
      "%nExamples: retort compare with=runs/a1,runs/a2 without=runs/b1,runs/b2 --out comparison",
      "          retort compare fashion-mnist-dmd2-el fashion-mnist-sid --seeds 1,2,3 --out both"
    })
@SuppressWarnings("NullAway.Init") // picocli fills required fields before the call
final class CompareCommand implements Callable<Integer> {
  private static final int POINTS = 6;

  private final Console console;

  @Parameters(
      arity = "1..*",
      paramLabel = "NAME=RUN,RUN..|RECIPE",
      description =
          "Runs of one name differ in their seed; medians are taken over them. A recipe is run.")
  private List<String> groups;

  @Option(
      names = "--controls",
      paramLabel = "N",
      description =
          "Runs every recipe again without each of the N first ideas of its method (default: 0).")
  private int controls;

  @Option(
      names = "--metric",
      paramLabel = "KEY",
      description = "frechet_lenet (default), frechet_random, precision or recall.")
  private String metric = Metric.FRECHET_LENET.key();

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "Where comparison.html, .svg, .md and .csv go, and the runs of recipes.")
  private Path out;

  @Option(
      names = "--seeds",
      split = ",",
      paramLabel = "S",
      description = "Seeds of the runs of recipes, with commas between (default: 1,2,3).")
  private List<Long> seeds = List.of(1L, 2L, 3L);

  @Option(
      names = "--set",
      paramLabel = "KEY=VALUE",
      description = "Changes a number of every recipe, such as steps=300; may be repeated.")
  private List<String> sets = new ArrayList<>();

  @Mixin private DeviceOption device = new DeviceOption();
  @Mixin private CommonOptions common;

  CompareCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    RunComparison comparison = new RunComparison(metric());
    seeds.forEach(seed -> Numbers.notNegative("--seeds", seed));
    Numbers.notNegative("--controls", controls);
    for (String group : groups) {
      int equals = group.indexOf('=');
      if (equals < 1 && !isRecipe(group)) {
        throw new UsageException(
            "a group of runs must be NAME=RUN,RUN.. or a recipe, got \"" + group + "\"");
      }
      if (equals < 1) {
        addRecipe(comparison, group);
      } else {
        String name = group.substring(0, equals);
        runs(group.substring(equals + 1)).forEach(run -> comparison.add(name, run));
      }
    }
    List<Path> written = comparison.writeTo(out);
    if (common.json()) {
      console.json(Map.of("files", written.stream().map(Path::toString).toList()));
    } else {
      console.print(comparison.markdown());
      console.note("written: " + written.getFirst());
    }
    return ExitStatus.SUCCESS;
  }

  private static List<Path> runs(String paths) {
    return Stream.of(paths.split(",", -1)).map(Path::of).toList();
  }

  private static boolean isRecipe(String text) {
    return BuiltIn.recipes().contains(text)
        || text.endsWith(".yaml") && Files.isRegularFile(Path.of(text));
  }

  private static String nameOf(String recipe) {
    return Path.of(recipe).getFileName().toString().replaceFirst("\\.ya?ml$", "");
  }

  /// Carries a recipe out, and its controls, and adds the runs.
  ///
  /// @throws RunException if the user stops one
  private void addRecipe(RunComparison comparison, String recipe) {
    Recipe stated = RecipeReader.find(recipe, sets);
    String name = nameOf(recipe);
    runsOf(stated, name).forEach(run -> comparison.add(name, run));
    stated.kind().controls(stated.settings()).entrySet().stream()
        .limit(controls)
        .forEach(control -> {
          String label = control.getKey().replaceFirst("^student_", "");
          Recipe without =
              RecipeReader.with(stated, List.of(stated.method() + "." + control.getValue()));
          runsOf(without, name + "-" + label)
              .forEach(run -> comparison.addControl(name, label, run));
        });
  }

  /// Carries a recipe out for every seed, as far as that has not been done.
  private List<Path> runsOf(Recipe stated, String name) {
    long every = Math.max(1, stated.steps() / POINTS);
    List<Path> runs = new ArrayList<>();
    for (long seed : seeds) {
      Path run = out.resolve(name + "-" + seed);
      List<String> own = new ArrayList<>(List.of("seed=" + seed));
      if (stated.evaluation().every() == 0) {
        own.add("evaluation.every=" + every);
      }
      Recipe seeded = RecipeReader.with(stated, own);
      console.note("%s with seed %d in %s".formatted(name, seed, run));
      RunOutcome outcome =
          new RunSession(console, common, device)
              .outcome((backend, options) -> Run.startOrResume(seeded, run, backend, options));
      if (!outcome.finished()) {
        throw new RunException(run, "was stopped; the same command goes on with it");
      }
      runs.add(run);
    }
    return runs;
  }

  private Metric metric() {
    return RunComparison.METRICS.stream()
        .filter(known -> known.key().equals(metric))
        .findFirst()
        .orElseThrow(() ->
            new UsageException(
                "--metric must be one of %s, got \"%s\""
                    .formatted(
                        String.join(", ", RunComparison.METRICS.stream().map(Metric::key).toList()),
                        metric)));
  }
}
