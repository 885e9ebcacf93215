package io.retort.distill;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.MethodStepTest;
import io.retort.recipe.BuiltIn;
import io.retort.recipe.Recipe;
import io.retort.recipe.RecipeReader;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Every method of the list is tested.
class MethodsTest {

  @Test
  void namesAreUnique() {
    assertThat(Methods.names()).doesNotHaveDuplicates();
  }

  /// `X` declares its numbers inside itself and has an `XTest` beside this one.
  @Test
  void everyMethodTakesItsSteps() {
    for (MethodKind<?> kind : Methods.ALL) {
      Class<?> method = kind.defaults().getClass().getEnclosingClass();

      assertThat(method).as(kind.name()).isAssignableTo(Method.class);
      assertThat(test(method)).as(kind.name()).isAssignableTo(MethodStepTest.class);
    }
  }

  /// What can be left out of a method's defaults is a setting it takes.
  @Test
  void ablationsAreSettings() {
    for (MethodKind<?> kind : Methods.ALL) {
      Recipe recipe = RecipeReader.with(Recipe.DEFAULT, List.of("method=" + kind.name()));
      kind.controls(recipe.settings())
          .forEach((control, change) ->
              assertThat(RecipeReader.with(recipe, List.of(kind.name() + "." + change)).settings())
                  .as(control)
                  .isNotEqualTo(recipe.settings()));
    }
  }

  /// What a recipe changes may have an ablation that the defaults have not.
  @Test
  void ablationsOfRecipesAreSettings() {
    for (MethodKind<?> kind : Methods.ALL) {
      for (String name : kind.recipes()) {
        Recipe recipe = builtIn(name);
        kind.controls(recipe.settings())
            .forEach((control, change) ->
                assertThat(builtIn(name, kind.name() + "." + change).settings())
                    .as("%s of %s", control, name)
                    .isNotEqualTo(recipe.settings()));
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"ict, first_scales=160", "ecm, stages=1"})
  void aCurveThatComesNearerHasAnAblation(String name, String change) {
    Recipe recipe = builtIn("fashion-mnist-" + name);

    assertThat(ConsistencyModel.KIND.controls(recipe.settings()))
        .containsEntry("student_without_curriculum", change);
  }

  private static Recipe builtIn(String name, String... sets) {
    return RecipeReader.parse(name, BuiltIn.recipe(name), List.of(sets));
  }

  private static Class<?> test(Class<?> method) {
    try {
      return Class.forName(method.getName() + "Test");
    } catch (ClassNotFoundException missing) {
      throw new AssertionError(method.getName() + "Test is missing", missing);
    }
  }
}
