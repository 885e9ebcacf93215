package io.retort.cli;

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
    all.addAll(more);
    return RecipeReader.find(nameOrFile, all);
  }

  /// A setting whose value is taken as text, whatever characters it has: JSON strings are YAML.
  static String text(String key, String value) {
    var quoted = new StringBuilder(key).append('=');
    Json.quote(quoted, value);
    return quoted.toString();
  }
}
