package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.data.Json;
import io.retort.op.OpCatalog;
import io.retort.recipe.BuiltIn;
import io.retort.recipe.Recipe;
import io.retort.recipe.RecipeReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Commands that list what there is: methods, ops, data sets, this machine.
class CatalogCommandsTest {
  @TempDir private Path folder;

  @Test
  void everyMethodHasACard() {
    assertThat(MethodCard.ALL)
        .extracting(MethodCard::name)
        .containsExactlyInAnyOrder(
            Stream.of(Recipe.MethodName.values())
                .map(name -> name.name().toLowerCase(Locale.ROOT))
                .toArray(String[]::new));
  }

  @Test
  void aCardsRecipeUsesItsMethod() {
    for (MethodCard card : MethodCard.ALL) {
      assertThat(BuiltIn.recipes()).contains(card.recipe());
      assertThat(RecipeReader.builtIn(card.recipe(), List.of()).method().name())
          .isEqualToIgnoringCase(card.name());
    }
    assertThat(Call.of("methods").succeeded().out()).contains("arXiv 2405.14867");
  }

  @Test
  void everyOpIsListedWithItsCases() {
    List<?> ops = (List<?>) Json.parse(Call.of("ops", "--json").succeeded().out());
    assertThat(ops).hasSameSizeAs(OpCatalog.cases().keySet());
    assertThat(ops).allMatch(op -> (long) ((Map<?, ?>) op).get("cases") > 0);
  }

  @Test
  void aCheckRunsTheContract() {
    Call check = Call.of("ops", "--check", "--filter", "affine", "--json");
    assertThat(check.json().get("coverage_percent")).isEqualTo(100.0);
    assertThat(check.json().get("failures")).isEqualTo(List.of());
    assertThat(check.err()).startsWith("device: cpu (");
    assertThat(Call.of("ops", "--check", "--filter", "affine").out()).contains("coverage 100.0 %");
  }

  @Test
  void dataSetsAreListedAndShown() {
    assertThat(Call.of("data", "list").succeeded().out())
        .contains("fashion-mnist-embedded", "MIT", "SHA-256 of mnist: ");
    Path out = folder.resolve("grid.png");
    assertThat(
            Call.of("data", "show", "fashion-mnist-embedded", "--count", 10, "--out", out)
                .succeeded()
                .out())
        .contains("the first 10 of 12000");
    assertThat(Files.exists(out)).isTrue();
  }

  @Test
  void theDoctorNamesWhatWouldBeUsed() {
    String text = Call.of("doctor").succeeded().out();
    assertThat(text).contains("✓ JDK", "✓ library", "oneDNN", "CUDA", "✓ device     cpu (");
    assertThat(Call.of("doctor", "--json").json().keySet().toString()).contains("processor");
  }
}
