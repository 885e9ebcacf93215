package io.retort.cli;

import io.retort.distill.MethodKind.Goal;
import io.retort.recipe.Recipe;
import io.retort.recipe.RecipeException;
import io.retort.report.Run;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `retort train`: a teacher or a metric net from a recipe.
@Command(
    description = "Trains a teacher, or a metric net, from a recipe.",
    footer = {
      "%nCtrl-C saves and says how to go on; a second one aborts. A stopped run exits with 1.",
      "%nExample: retort train fashion-mnist-teacher --out runs/teacher"
    })
@SuppressWarnings("NullAway.Init") // picocli fills required fields before the call
final class TrainCommand implements Callable<Integer> {
  private final Console console;

  @Parameters(
      paramLabel = "RECIPE",
      description = "A .yaml file, or the name of a recipe inside Retort.")
  private String recipe;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "The run directory, empty or new.")
  private Path out;

  @Mixin private RecipeOptions changes;
  @Mixin private DeviceOption device;
  @Mixin private CommonOptions common;

  TrainCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    Recipe resolved = changes.resolve(recipe, List.of());
    if (resolved.kind().goal() == Goal.STUDENT) {
      throw new RecipeException(
          recipe,
          "method",
          "%s distils; start it with: retort distill %s".formatted(resolved.method(), recipe));
    }
    return new RunSession(console, common, device)
        .carryOut((backend, options) -> Run.start(resolved, out, backend, options));
  }
}
