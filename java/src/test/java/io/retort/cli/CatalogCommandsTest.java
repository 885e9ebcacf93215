package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.data.Json;
import io.retort.distill.MethodKind;
import io.retort.distill.Methods;
import io.retort.op.OpCatalog;
import io.retort.recipe.BuiltIn;
import io.retort.recipe.RecipeReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Commands that list what there is: methods, ops, data sets, this machine.
class CatalogCommandsTest {
  @TempDir private Path folder;

  @Test
  void everyMethodIsListedWithRecipesThatUseIt() {
    List<?> methods = (List<?>) Json.parse(Call.of("methods", "--json").succeeded().out());

    assertThat(methods)
        .extracting(method -> (String) ((Map<?, ?>) method).get("name"))
        .containsExactlyElementsOf(Methods.names());
    for (MethodKind<?> kind : Methods.ALL) {
      assertThat(kind.recipes()).as(kind.name()).isNotEmpty();
      for (String recipe : kind.recipes()) {
        assertThat(RecipeReader.builtIn(recipe, List.of()).method()).isEqualTo(kind.name());
      }
    }
    assertThat(Call.of("methods").succeeded().out()).contains("arXiv 2405.14867");
  }

  @Test
  void ofAMethodItsRecipesTellWhatTheyReached() {
    String sid = Call.of("methods", "sid").succeeded().out();
    assertThat(sid)
        .contains(
            "arXiv 2404.04057", "retort distill fashion-mnist-sida", "expected", "Fréchet-LeNet")
        .doesNotContain("twinflow");
    for (String recipe : BuiltIn.recipes()) {
      assertThat(BuiltIn.notes(recipe).keySet())
          .as(recipe)
          .containsExactlyInAnyOrder("what", "paper", "differs", "expected", "wall time");
    }
    assertThat(BuiltIn.notes("fashion-mnist-sid").get("what")).doesNotContain("#", "  ");
    Call.of("methods", "sid", "sod").refused(ExitStatus.USAGE, "there is no method 'sod'");
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

  @ParameterizedTest
  @ValueSource(strings = {"panama", "jcuda"})
  void opsRunOnTheEmulator(String binding) {
    String[] emulator = {
      "--device", "cuda", "--cuda-library", "emulator", "--cuda-binding", binding
    };
    assertThat(Call.of(with(emulator, "ops", "--check", "--filter", "affine")).succeeded().out())
        .contains("1 of 1 ops keep the contract on cuda");
    assertThat(Call.of(with(emulator, "doctor")).succeeded().out())
        .contains(
            "✓ CUDA       driver for CUDA 13.0",
            "called through " + binding,
            "✓ CUDA 0     Retort emulator sm_90",
            "✓ CUDA 1     Retort emulator sm_80",
            "✓ device     cuda (Retort emulator sm_90, emulator, " + binding,
            "✓ graphs     a phase of training is one CUDA graph");
    assertThat(Call.of(with(emulator, "doctor", "--cuda-graphs", "off")).succeeded().out())
        .contains("✓ graphs     off");
  }

  private static Object[] with(String[] options, String... call) {
    return Stream.concat(Stream.of(call), Stream.of(options)).toArray();
  }

  @Test
  void theDoctorNamesWhatWouldBeUsed() {
    String text = Call.of("doctor").succeeded().out();
    assertThat(text).contains("✓ JDK", "✓ library", "oneDNN", "CUDA", "✓ device     cpu (");
    assertThat(Call.of("doctor", "--json").json().keySet().toString()).contains("processor");
  }
}
