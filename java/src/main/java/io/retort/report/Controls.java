package io.retort.report;

import io.retort.data.Json;
import io.retort.distill.Distillation;
import io.retort.op.Backend;
import io.retort.recipe.Recipe;
import io.retort.recipe.RecipeReader;
import io.retort.recipe.Wiring;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;

/// The same run with one idea of its method switched off, to show what the idea is worth.
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
          RunOutcome outcome = Run.startOrResume(control, folder, backend, options);
          if (!outcome.finished()) {
            throw new StoppedException();
          }
          folders.put(name, folder);
        });
    return folders;
  }

  private static SequencedMap<String, Recipe> recipes(Recipe recipe, RunDirectory directory) {
    SequencedMap<String, Recipe> controls = new LinkedHashMap<>();
    if (recipe.evaluation().controls() && recipe.settings() instanceof Distillation distillation) {
      Recipe base = unmeasured(recipe, distillation, directory);
      recipe
          .kind()
          .controls(recipe.settings())
          .forEach((name, change) ->
              controls.put(name, RecipeReader.with(base, List.of(recipe.method() + "." + change))));
    }
    return controls;
  }

  /// The run that measures its controls has trained their teacher, too.
  private static Recipe unmeasured(
      Recipe recipe, Distillation distillation, RunDirectory directory) {
    List<String> sets =
        new ArrayList<>(
            List.of("evaluation.count=0", "evaluation.every=0", "evaluation.controls=false"));
    if (distillation.teacher().equals(Wiring.TRAIN)) {
      String teacher = directory.teacher().toAbsolutePath().toString();
      sets.add(recipe.method() + ".teacher=" + Json.write(teacher));
    }
    return RecipeReader.with(recipe, sets);
  }
}
