/// Recipes: a run as a short YAML file, read into typed records, and wired into a method.
///
/// Read first: [io.retort.recipe.Recipe], [io.retort.recipe.RecipeReader],
/// [io.retort.recipe.Wiring]. Depends on everything but report and cli.
///
/// Invariants: a recipe states only what differs from the defaults; an unknown key is an error that
/// names the line and the nearest key; the resolved recipe written into a run directory reproduces
/// the run.
@NullMarked
package io.retort.recipe;

import org.jspecify.annotations.NullMarked;
