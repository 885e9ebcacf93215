package io.retort.recipe;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.distill.Dmd2;
import io.retort.distill.EdmTraining;
import io.retort.distill.Methods;
import io.retort.net.RandomConvNet;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/// A recipe says exactly what runs, and a wrong one says where it is wrong.
class RecipeReaderTest {

  private static Recipe read(String yaml, String... sets) {
    return RecipeReader.parse("my.yaml", yaml, List.of(sets));
  }

  private static void refused(String yaml, String sentence) {
    assertThatThrownBy(() -> read(yaml)).isInstanceOf(RecipeException.class).hasMessage(sentence);
  }

  @Test
  void statesOnlyDifferences() {
    Recipe recipe =
        read(
            "steps: 7\n"
                + "network:\n"
                + "  multipliers: [1, 2]\n"
                + "dmd2:\n"
                + "  embedding:\n"
                + "    bank: norm_free\n");

    assertThat(recipe.steps()).isEqualTo(7);
    assertThat(recipe.network().multipliers()).containsExactly(1, 2);
    assertThat(recipe.network().channels()).isEqualTo(Recipe.DEFAULT.network().channels());
    assertThat(recipe.settings(Dmd2.KIND).embedding().bank())
        .isEqualTo(RandomConvNet.Bank.NORM_FREE);
    assertThat(recipe.settings(Dmd2.KIND).student())
        .isEqualTo(Recipe.DEFAULT.settings(Dmd2.KIND).student());
  }

  @Test
  void nothingStatedIsTheDefault() {
    assertThat(read("")).isEqualTo(Recipe.DEFAULT);
    assertThat(read("# only a comment\n")).isEqualTo(Recipe.DEFAULT);
  }

  @Test
  void unknownKeyNamesLineAndNearestKey() {
    refused(
        "steps: 3\ndmd2:\n  batch: 8\n  critic_step: 2\n",
        "my.yaml:4: dmd2.critic_step: is unknown; the nearest key is critic_steps");
    assertThatThrownBy(() -> read("zzzzzzzzzz: 3\n"))
        .hasMessageContaining("all keys here are method, data");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "steps: many                   | my.yaml:1: steps: must be an integer, got \"many\"",
        "steps: 1.5                    | my.yaml:1: steps: must be an integer, got \"1.5\"",
        "steps: \"5\"                  | my.yaml:1: steps: must be an integer, got \"5\"",
        "steps: 99999999999999999999   | my.yaml:1: steps: must be an integer, got"
            + " \"99999999999999999999\"",
        "save: {keep: 3000000000}      | my.yaml:1: save.keep: is too large: 3000000000",
        "steps: [1]                    | my.yaml:1: steps: must be one value, not a list or a"
            + " section",
        "network: {multipliers: 2}     | my.yaml:1: network.multipliers: must be a list of integers"
            + " such as [1, 2, 2]",
        "network: {conditional: maybe} | my.yaml:1: network.conditional: must be true or false, got"
            + " \"maybe\"",
        "edm: {sigma_data: .nan}       | my.yaml:1: edm.sigma_data: must be a number, got \".nan\"",
        "edm: {sigma_data: 1e999}      | my.yaml:1: edm.sigma_data: must be a number, got"
            + " \"1e999\"",
        "save: 3                       | my.yaml:1: save: is a section with the keys every, keep,"
            + " samples",
        "steps: 0                      | my.yaml:1: steps must be at least 1, got 0",
        "seed: -1                      | my.yaml:1: seed must be at least 0, got -1",
        "network: {channels: 6}        | my.yaml:1: network: channels must be a multiple of 4, at"
            + " most 4096, got 6",
        "evaluation: {count: 3}        | my.yaml:1: evaluation: count must be 0 or at least 16, got"
            + " 3",
        "dmd2: {real_batch: 1}         | my.yaml:1: dmd2: real_batch must be at least batch, got 1",
        "seed: 1, seed: 2              | my.yaml:1: is not YAML: mapping values are not allowed"
            + " here",
        "{seed: 1, seed: 2}            | my.yaml:1: seed: is given twice",
        "[1, 2]                        | my.yaml: must be lines of `key: value`",
        "just text                     | my.yaml: must be lines of `key: value`",
        "data: &x here                 | my.yaml:1: must not use anchors",
        "steps: !!java.lang.Runtime 3  | my.yaml:1: must not use tags",
        "save: !thing {}               | my.yaml:1: must not use tags",
        "{data: &x here, method: *x}   | my.yaml:1: must not use anchors",
      })
  void wrongValueNamesWhatWasExpected(String yaml, String sentence) {
    refused(yaml, sentence);
  }

  @Test
  void whatWasGivenIsShownOnOneLine() {
    refused(
        "precision: 'float32\n\n  and more'",
        "my.yaml:1: precision: must be one of float32, bfloat16, got \"float32 and more\"");
    assertThatThrownBy(() -> read("\"two\\nlines \\e[2J\": 1"))
        .hasMessageStartingWith("my.yaml:1: two?lines ?[2J: is unknown; ")
        .hasMessageNotContaining("\n");
    refused(
        "method: \"dmd\\u202e2\"",
        "my.yaml:1: method must be one of %s, got \"dmd?2\""
            .formatted(String.join(", ", Methods.names())));
  }

  @ParameterizedTest
  @ValueSource(strings = {"dmd3", "DMD2", "\"\""})
  void aMethodIsOneOfTheList(String name) {
    refused(
        "method: " + name,
        "my.yaml:1: method must be one of %s, got \"%s\""
            .formatted(String.join(", ", Methods.names()), name.replace("\"", "")));
  }

  @Test
  void numbersOfOtherMethodsAreWrittenWhereTheyWereStated() {
    Recipe recipe = read("method: edm", "classifier.batch=7");

    assertThat(RecipeWriter.yaml(recipe))
        .contains("edm:\n", "classifier:\n")
        .doesNotContain("dmd2:");
    assertThat(read(RecipeWriter.yaml(recipe))).isEqualTo(recipe);
  }

  @Test
  void settingsOverrideAndAreCheckedAlike() {
    Recipe recipe =
        read(
            "steps: 5\n",
            "steps=9",
            "dmd2.student.lr=2e-4",
            "network.attention=[7, 14]",
            "steps=10");

    assertThat(recipe.steps()).isEqualTo(10);
    assertThat(recipe.settings(Dmd2.KIND).student().lr()).isEqualTo(2e-4);
    assertThat(recipe.network().attention()).containsExactly(7, 14);
    assertThatThrownBy(() -> read("", "stpes=3"))
        .hasMessage("--set: stpes: is unknown; the nearest key is steps");
    assertThatThrownBy(() -> read("", "steps=0"))
        .hasMessage("--set: steps must be at least 1, got 0");
    assertThatThrownBy(() -> read("", "steps"))
        .hasMessage("--set: must be key=value, got \"steps\"");
    assertThatThrownBy(() -> read("", "steps=")).hasMessage("--set: steps: has no value");
    assertThatThrownBy(() -> read("", "steps.x=1"))
        .hasMessage("--set: steps: must be one value, not a list or a section");
  }

  @ParameterizedTest
  @MethodSource("builtIns")
  void whatIsWrittenReadsBackEqual(String name) {
    Recipe recipe = RecipeReader.builtIn(name, List.of("seed=41", "dmd2.teacher=\"a: b #c\\n\""));
    String yaml = RecipeWriter.yaml(recipe);

    assertThat(read(yaml)).isEqualTo(recipe);
    assertThat(RecipeWriter.yaml(read(yaml))).isEqualTo(yaml);
  }

  static List<String> builtIns() {
    return BuiltIn.recipes();
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, 1, -1.2, 1e-8, 3e-4, 0.1, 1e300, 5e-324, 123456789.125, 20000})
  void numbersSurviveWriting(double number) {
    Recipe recipe = RecipeReader.with(Recipe.DEFAULT, List.of("edm.mean_log=" + number));

    assertThat(read(RecipeWriter.yaml(recipe)).settings(EdmTraining.KIND).meanLog())
        .isEqualTo(number);
  }

  @Test
  void theDefaultOfDistillStatesTheDefaults() {
    assertThat(RecipeReader.builtIn(BuiltIn.recipes().getFirst(), List.of()))
        .isEqualTo(Recipe.DEFAULT);
  }

  @Test
  void filesAndNamesAreFound(@TempDir Path folder) throws IOException {
    Path file = Files.writeString(folder.resolve("own.yaml"), "steps: 4\n");

    assertThat(RecipeReader.find(file.toString(), List.of()).steps()).isEqualTo(4);
    assertThat(RecipeReader.find("fashion-mnist-teacher", List.of()).method()).isEqualTo("edm");
    assertThatThrownBy(() -> RecipeReader.find("nowhere.yaml", List.of()))
        .isInstanceOf(RecipeException.class)
        .hasMessageStartingWith(
            "nowhere.yaml: no such file or directory; recipes inside Retort are ");
  }

  @Test
  void hostileTextIsRefused(@TempDir Path folder) throws IOException {
    Path large = Files.writeString(folder.resolve("large.yaml"), "#".repeat(1 << 17));
    Path binary =
        Files.write(folder.resolve("binary.yaml"), new byte[] {(byte) 0xff, (byte) 0xfe, 0, 1});

    assertThatThrownBy(() -> RecipeReader.read(large, List.of()))
        .isInstanceOf(RecipeException.class)
        .hasMessageEndingWith("is larger than a recipe can be");
    assertThatThrownBy(() -> RecipeReader.read(binary, List.of()))
        .isInstanceOf(RecipeException.class)
        .hasMessageEndingWith("is not UTF-8 text");
    assertThatThrownBy(() -> RecipeReader.read(folder, List.of()))
        .isInstanceOf(RecipeException.class);
    assertThatThrownBy(() -> read("[".repeat(50000)))
        .isInstanceOf(RecipeException.class)
        .hasMessageContaining("is nested too deeply");
    assertThatThrownBy(() -> read("a: " + "{b: ".repeat(40) + "1" + "}".repeat(40)))
        .isInstanceOf(RecipeException.class);
    assertThatThrownBy(() -> read("steps: 1\n---\nsteps: 2\n")).isInstanceOf(RecipeException.class);
    assertThatThrownBy(() -> read("? [a, b]\n: 1\n")).isInstanceOf(RecipeException.class);
    assertThatThrownBy(() -> read("\tsteps: 1")).isInstanceOf(RecipeException.class);
    assertThatThrownBy(() -> read("\u0000")).isInstanceOf(RecipeException.class);
  }
}
