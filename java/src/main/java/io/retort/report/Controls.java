package io.retort.report;

import io.retort.data.Json;
import io.retort.op.Backend;
import io.retort.recipe.Recipe;
import io.retort.recipe.Recipe.Dmd2;
import io.retort.recipe.Recipe.MethodName;
import io.retort.recipe.RecipeReader;
import io.retort.recipe.Wiring;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;

/// The same run with one term of the student switched off, to show what the term is worth.
final class Controls {

  private Controls() {}

  /// Carries the controls of a recipe out, one run directory each, or takes them up again.
  ///
  /// @return their folders by row name; empty if the recipe wants none
  static SequencedMap<String, Path> run(
      Recipe recipe, RunDirectory directory, Backend backend, RunOptions options) {
    SequencedMap<String, Path> folders = new LinkedHashMap<>();
    recipes(recipe, directory)
        .forEach((name, control) -> {
          Path folder = directory.control(name);
          options.notes().accept("control %s in %s".formatted(name, folder));
          RunOutcome outcome =
              Files.exists(folder.resolve(RunDirectory.RECIPE))
                  ? Run.resume(folder, backend, options)
                  : Run.start(control, folder, backend, options);
          if (!outcome.finished()) {
            throw new StoppedException();
          }
          folders.put(name, folder);
        });
    return folders;
  }

  private static SequencedMap<String, Recipe> recipes(Recipe recipe, RunDirectory directory) {
    SequencedMap<String, Recipe> controls = new LinkedHashMap<>();
    Dmd2 dmd2 = recipe.dmd2();
    if (recipe.method() != MethodName.DMD2 || !recipe.evaluation().controls()) {
      return controls;
    }
    boolean matches = dmd2.distributionMatching() > 0;
    boolean deceives = dmd2.gan() > 0;
    boolean embeds = dmd2.embedding().weight() > 0;
    Recipe base = unmeasured(recipe, directory);
    if (embeds && (matches || deceives)) {
      controls.put("student_without_el", without(base, "dmd2.embedding.weight"));
    }
    if (deceives && (matches || embeds)) {
      controls.put("student_without_gan", without(base, "dmd2.gan"));
    }
    if (matches && (deceives || embeds)) {
      controls.put("student_without_dm", without(base, "dmd2.distribution_matching"));
    }
    return controls;
  }

  /// The run that measures its controls has trained their teacher, too.
  private static Recipe unmeasured(Recipe recipe, RunDirectory directory) {
    List<String> sets =
        new ArrayList<>(
            List.of("evaluation.count=0", "evaluation.every=0", "evaluation.controls=false"));
    if (recipe.dmd2().teacher().equals(Wiring.TRAIN)) {
      sets.add("dmd2.teacher=" + Json.write(directory.teacher().toAbsolutePath().toString()));
    }
    return RecipeReader.with(recipe, sets);
  }

  private static Recipe without(Recipe recipe, String term) {
    return RecipeReader.with(recipe, List.of(term + "=0"));
  }
}
