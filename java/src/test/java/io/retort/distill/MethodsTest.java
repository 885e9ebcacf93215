package io.retort.distill;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.MethodStepTest;
import io.retort.recipe.Recipe;
import io.retort.recipe.RecipeReader;
import java.util.List;
import org.junit.jupiter.api.Test;

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

  private static Class<?> test(Class<?> method) {
    try {
      return Class.forName(method.getName() + "Test");
    } catch (ClassNotFoundException missing) {
      throw new AssertionError(method.getName() + "Test is missing", missing);
    }
  }
}
