package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.Golden;
import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.SafetensorsReader;
import io.retort.checkpoint.SafetensorsWriter;
import io.retort.checkpoint.TensorEntry;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// `sample` with every sampler on golden networks, through files as a user would.
final class SamplerOptionsTest {
  @TempDir private static Path shared;
  private static Path model;
  private static Path unconditional;

  @TempDir private Path folder;

  @BeforeAll
  static void write() throws IOException {
    model = TinyModel.write(shared.resolve("model"));
    unconditional = Files.createDirectory(shared.resolve("unconditional"));
    copy("songunet_residual_8", unconditional);
  }

  /// Writes the network of a golden file as a model.
  private static void copy(String golden, Path target) throws IOException {
    Path file = Call.resource("/golden/" + golden + ".safetensors");
    try (SafetensorsReader reader = SafetensorsReader.open(file)) {
      SafetensorsWriter writer = new SafetensorsWriter();
      for (TensorEntry entry : reader.entries()) {
        if (entry.name().startsWith("w/")) {
          writer.floats(
              entry.name().substring(2), entry.shape(), () -> reader.floats(entry.name()));
        }
      }
      writer.write(target.resolve("model.safetensors"));
      Files.writeString(
          target.resolve("config.json"), reader.metadata().getOrDefault("config", ""));
    }
  }

  private Call sample(Path from, Path out, Object... options) {
    List<Object> arguments = new ArrayList<>(List.of("sample", from, "--out", out));
    arguments.addAll(Arrays.asList(options));
    return Call.of(arguments.toArray());
  }

  private float[] drawn(Path from, Object... options) {
    Path out = folder.resolve("out-" + folder.toFile().list().length + ".npy");
    sample(from, out, options).succeeded();
    return NpyFile.read(out).floats();
  }

  @ParameterizedTest
  @ValueSource(strings = {"heun", "euler", "ddim", "ddpm", "dpmpp", "lcm"})
  void everySamplerRepeatsItself(String name) {
    Object[] call = {"--sampler", name, "--steps", 4, "--count", 3, "--seed", 5};
    float[] first = drawn(model, call);
    assertThat(first).hasSize(3 * 64).doesNotContain(Float.NaN);
    assertThat(drawn(model, call)).isEqualTo(first);
    assertThat(drawn(unconditional, call)).hasSize(3 * 64).doesNotContain(Float.NaN);
  }

  /// With many steps all of them follow the same path.
  @Test
  void deterministicSamplersConverge() {
    float[] heun = drawn(model, "--steps", 60, "--count", 2);
    float[] solver = drawn(model, "--sampler", "dpmpp", "--steps", 200, "--count", 2);
    float[] euler = drawn(model, "--sampler", "euler", "--steps", 400, "--count", 2);
    float[] ddim = drawn(model, "--sampler", "ddim", "--steps", 400, "--count", 2);
    Golden.assertClose("dpmpp", solver, heun, 0.02, 0.02);
    Golden.assertClose("euler", euler, heun, 0.05, 0.05);
    Golden.assertClose("ddim", ddim, euler, 1e-4, 1e-4);
  }

  @Test
  void theReferencesTrajectoryFromGivenNoise() throws IOException {
    Path reference = Files.createDirectory(folder.resolve("reference"));
    try (SafetensorsReader reader =
        SafetensorsReader.open(Call.resource("/golden/sampler.safetensors"))) {
      SafetensorsWriter writer = new SafetensorsWriter();
      for (TensorEntry entry : reader.entries()) {
        if (entry.name().startsWith("w/")) {
          writer.floats(
              entry.name().substring(2), entry.shape(), () -> reader.floats(entry.name()));
        }
      }
      writer.write(reference.resolve("model.safetensors"));
      Files.copy(model.resolve("config.json"), reference.resolve("config.json"));
      NpyFile.write(
          folder.resolve("z.npy"), reader.floats("in/latents"), reader.entry("in/latents").shape());
      float[] rows = reader.floats("in/class_labels");
      List<String> labels = new ArrayList<>();
      for (int i = 0; i < rows.length; i++) {
        if (rows[i] == 1) {
          labels.add(Integer.toString(i % 3));
        }
      }
      float[] images =
          drawn(
              reference,
              "--noise",
              folder.resolve("z.npy"),
              "--labels",
              String.join(",", labels),
              "--steps",
              5,
              "--sigma-min",
              0.01,
              "--sigma-max",
              50,
              "--rho",
              5);
      double[] expected = reader.doubles("heun5/out/x");
      for (int i = 0; i < expected.length; i++) {
        assertThat((double) images[i])
            .isBetween(
                expected[i] - 1e-4 * Math.max(1, Math.abs(expected[i])),
                expected[i] + 1e-4 * Math.max(1, Math.abs(expected[i])));
      }
    }
  }

  @Test
  void noiseOnTheWayChangesTheImage() {
    float[] plain = drawn(model, "--steps", 6, "--count", 2);
    float[] churned =
        drawn(model, "--steps", 6, "--count", 2, "--churn", 40, "--churn-noise", 1.003);
    assertThat(churned).isNotEqualTo(plain);
    assertThat(drawn(model, "--steps", 6, "--count", 2, "--churn", 0)).isEqualTo(plain);
    assertThat(drawn(model, "--steps", 6, "--count", 2, "--churn", 40, "--churn-min", 90))
        .isEqualTo(plain);
    Object[] ddim = {"--sampler", "ddim", "--steps", 6, "--count", 2};
    Object[] noisy = Arrays.copyOf(ddim, 8);
    noisy[6] = "--eta";
    noisy[7] = 1;
    assertThat(drawn(model, noisy)).isNotEqualTo(drawn(model, ddim));
  }

  @Test
  void guidanceCountsTwice() {
    Call guided =
        sample(
            model, folder.resolve("g.npy"), "--guidance", 2, "--steps", 3, "--count", 2, "--json");
    assertThat(guided.json().get("nfe")).isEqualTo(10L);
    assertThat(NpyFile.read(folder.resolve("g.npy")).floats())
        .isNotEqualTo(drawn(model, "--steps", 3, "--count", 2));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--sampler heum        | must be one of heun, euler, ddim, ddpm, dpmpp, lcm, flow, got"
            + " \"heum\"; the nearest is heun",
        "--eta 0.5             | --eta is for --sampler ddim, not heun",
        "--sampler lcm --churn 3 | --churn is for --sampler heun, not lcm",
        "--sampler ddim --eta 2 | eta must be in [0, 1], got 2.0",
        "--sampler flow        | --sampler flow needs a network of rectified flow",
        "--sampler ddim --spacing leading | --spacing leading is for networks with time steps",
        "--variance large      | --variance is for --sampler ddpm, not heun",
        "--sampler ddpm --variance big | --variance must be small or large, got 'big'",
        "--sigma-max 0.001     | 0 < min < max and rho > 0 must hold",
        "--churn -1            | churn and its noise must be at least 0",
        "--guidance NaN        | --guidance must be a number",
        "--guidance 2 --labels none | --guidance needs classes, --labels none has none",
        "--spacing karras      | --spacing is for --sampler euler or ddim or ddpm or dpmpp, not"
            + " heun",
        "--sampler lcm --spacing karras | --spacing is for --sampler euler or ddim or ddpm or"
            + " dpmpp, not lcm",
        "--sampler ddim --churn-min 1 | --churn-min is for --sampler heun, not ddim",
        "--churn-min 1         | --churn-min goes with --churn",
        "--churn-max 1         | --churn-max goes with --churn",
        "--churn-noise 1.1     | --churn-noise goes with --churn"
      })
  void optionsThatDoNotFitAreRefused(String options, String reason) {
    sample(model, folder.resolve("a.npy"), (Object[]) options.split(" ")).refused(2, reason);
    assertThat(folder.resolve("a.npy")).doesNotExist();
  }

  @Test
  void guidanceNeedsClasses() {
    sample(unconditional, folder.resolve("a.npy"), "--guidance", 2)
        .refused(2, "--guidance: the model is unconditional, it has no classes");
  }
}
