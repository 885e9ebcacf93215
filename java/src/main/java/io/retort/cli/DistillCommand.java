package io.retort.cli;

import io.retort.distill.MethodKind.Goal;
import io.retort.distill.Methods;
import io.retort.recipe.BuiltIn;
import io.retort.recipe.Recipe;
import io.retort.recipe.RecipeException;
import io.retort.recipe.RecipeReader;
import io.retort.recipe.Wiring;
import io.retort.report.Run;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `retort distill`: the main job, from a teacher to a student of one or a few steps and a report.
@Command(
    description =
        "Distils a teacher into a student of one or a few steps; ends with pictures and"
            + " report.html.",
    footer = {
      "%nWithout a recipe: the embedded default, on embedded real images, from the embedded"
          + " teacher.",
      "Ctrl-C saves and says how to go on; a second one aborts. A stopped run exits with 1.",
      "%nExample: retort distill --set dmd2.embedding.weight=0 --out runs/without-el"
    })
final class DistillCommand implements Callable<Integer> {
  private static final Path RUNS = Path.of("runs");
  private static final Set<String> SPECIAL = Set.of(Wiring.BUILT_IN, Wiring.TRAIN);

  private final Console console;

  @Parameters(
      arity = "0..1",
      paramLabel = "RECIPE",
      description = "A .yaml file, or the name of a recipe inside Retort.")
  private @Nullable String recipe;

  @Option(
      names = "--out",
      paramLabel = "DIR",
      description = "The run directory, empty or new (default: runs/RECIPE-N, the first free N).")
  private @Nullable Path out;

  @Option(
      names = "--teacher",
      paramLabel = "FILE|builtin|train",
      description = "A run directory or model file, the embedded one, or one trained first.")
  private @Nullable String teacher;

  @Option(
      names = "--controls",
      description = "Distil again without each term of the loss, for comparison.")
  private boolean controls;

  @Mixin private RecipeOptions changes = new RecipeOptions();
  @Mixin private DeviceOption device = new DeviceOption();
  @Mixin private CommonOptions common = new CommonOptions();

  DistillCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    String name = recipe != null ? recipe : BuiltIn.recipes().getFirst();
    Recipe stated = changes.resolve(name, List.of());
    if (stated.kind().goal() != Goal.STUDENT) {
      throw new RecipeException(
          name,
          "method",
          "must be one that distils (%s); train with: retort train %s"
              .formatted(String.join(", ", Methods.names(Goal.STUDENT)), name));
    }
    Recipe resolved = RecipeReader.with(stated, settings(stated));
    Path directory = out != null ? out : fresh(name);
    return new RunSession(console, common, device)
        .carryOut((backend, options) -> Run.start(resolved, directory, backend, options));
  }

  /// What the command's own options change.
  private List<String> settings(Recipe recipe) {
    List<String> settings = new ArrayList<>();
    if (teacher != null) {
      boolean path = !SPECIAL.contains(teacher);
      // Absolute, so that the recipe in the run directory still finds it from elsewhere.
      settings.add(
          RecipeOptions.text(
              recipe.method() + ".teacher",
              path ? Path.of(teacher).toAbsolutePath().toString() : teacher));
    }
    if (controls) {
      settings.add("evaluation.controls=true");
    }
    return settings;
  }

  /// `runs/NAME-N` with the first N that is free.
  private static Path fresh(String recipe) {
    String name = Path.of(recipe).getFileName().toString().replaceFirst("\\.ya?ml$", "");
    for (int n = 1; ; n++) {
      Path candidate = RUNS.resolve(name + "-" + n);
      if (!Files.exists(candidate)) {
        return candidate;
      }
    }
  }
}
