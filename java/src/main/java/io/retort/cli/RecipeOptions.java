package io.retort.cli;

import io.retort.data.Datasets;
import io.retort.data.Json;
import io.retort.recipe.Recipe;
import io.retort.recipe.RecipeReader;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/// Changes to a recipe from the command line; the named options win over `--set`.
final class RecipeOptions {
  @Option(
      names = "--set",
      paramLabel = "KEY=VALUE",
      description = "Changes one number of the recipe, such as dmd2.gan=0; may be repeated.")
  private List<String> sets = new ArrayList<>();

  @Option(
      names = "--data",
      paramLabel = "NAME|PATH",
      description = "The data set: one of `retort data list`, or a zip or folder of your own.")
  private @Nullable String data;

  @Option(names = "--steps", paramLabel = "N", description = "Length of the run.")
  private @Nullable Long steps;

  @Option(names = "--seed", paramLabel = "S", description = "Of every random number.")
  private @Nullable Long seed;

  /// The recipe that is meant, changed as asked.
  ///
  /// @param nameOrFile a file, or a recipe inside Retort
  /// @param more settings of the command's own options
  Recipe resolve(String nameOrFile, List<String> more) {
    Numbers.positive("--steps", steps);
    Numbers.notNegative("--seed", seed);
    List<String> all = new ArrayList<>(sets);
    if (steps != null) {
      all.add("steps=" + steps);
    }
    if (seed != null) {
      all.add("seed=" + seed);
    }
    if (data != null) {
      all.add(text("data", data));
    }
    all.addAll(more);
    Recipe recipe = RecipeReader.find(nameOrFile, all);
    // A path is made absolute, so that the recipe in the run directory finds it from elsewhere.
    return RecipeReader.with(recipe, List.of(text("data", Datasets.lastingName(recipe.data()))));
  }

  /// A setting whose value is taken as text, whatever characters it has: JSON strings are YAML.
  static String text(String key, String value) {
    var quoted = new StringBuilder(key).append('=');
    Json.quote(quoted, value);
    return quoted.toString();
  }
}
