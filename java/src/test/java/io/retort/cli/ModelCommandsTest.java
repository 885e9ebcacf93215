package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.Golden;
import io.retort.backend.CpuBackend;
import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.SafetensorsReader;
import io.retort.checkpoint.SafetensorsWriter;
import io.retort.checkpoint.TensorEntry;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// `sample` and `denoise` on the golden network, through files as a user would.
class ModelCommandsTest {
  @TempDir private static Path shared;
  private static Path model;

  @TempDir private Path folder;
  private long liveBefore;

  @BeforeAll
  static void write() throws IOException {
    model = TinyModel.write(shared.resolve("model"));
  }

  @BeforeEach
  void count() {
    liveBefore = CpuBackend.open().memory().liveBlocks();
  }

  @AfterEach
  void nothingLeaks() {
    assertThat(CpuBackend.open().memory().liveBlocks()).isEqualTo(liveBefore);
  }

  private Path file(String name) {
    return folder.resolve(name);
  }

  private Path x() {
    return TinyModel.npy("in/x", file("x.npy"));
  }

  private Path sigma() {
    return TinyModel.npy("in/sigma", file("s.npy"));
  }

  private static void assertMatches(String golden, Path file) {
    NpyFile array = NpyFile.read(file);
    assertThat(array.typeName()).isEqualTo("f4");
    assertThat(array.shape()).containsExactly(2, 1, 8, 8);
    Golden.assertClose(golden, array.floats(), TinyModel.values(golden), 2e-5, 1e-4);
  }

  @Test
  void denoiseMatchesTheReference() {
    Path labels = TinyModel.npy("in/class_labels", file("l.npy"));
    Path out = file("d.npy");
    Call.of("denoise", model, "--x", x(), "--sigma", sigma(), "--labels", labels, "--out", out)
        .succeeded();
    assertMatches("out/D", out);
  }

  @Test
  void denoiseTakesIntegerLabelsDoublesAndAFileAsModel() {
    float[] oneHot = TinyModel.values("in/class_labels");
    var classes = new long[2];
    for (int i = 0; i < oneHot.length; i++) {
      classes[i / 3] += (long) (i % 3 * oneHot[i]);
    }
    NpyFile.write(file("l.npy"), classes, 2);
    float[] x = TinyModel.values("in/x");
    var wide = new double[x.length];
    Arrays.setAll(wide, i -> x[i]);
    NpyFile.write(file("x64.npy"), wide, 2, 1, 8, 8);
    Path out = file("d.npy");
    Call done =
        Call.of(
            "denoise",
            model.resolve("model.safetensors"),
            "--x",
            file("x64.npy"),
            "--sigma",
            sigma(),
            "--labels",
            file("l.npy"),
            "--out",
            out,
            "--json");
    assertThat(done.json().get("count")).isEqualTo(2L);
    assertMatches("out/D", out);
  }

  @Test
  void denoiseWithoutLabelsIsUnconditional() {
    Path out = file("d.npy");
    Call.of("denoise", model, "--x", x(), "--sigma", sigma(), "--out", out).succeeded();
    assertMatches("out/D_uncond", out);
  }

  @Test
  void denoiseMixesConditionalAndUnconditionalRows() {
    float[] labels = TinyModel.values("in/class_labels");
    Arrays.fill(labels, 3, 6, 0);
    NpyFile.write(file("l.npy"), labels, 2, 3);
    Path out = file("d.npy");
    Call.of(
            "denoise",
            model,
            "--x",
            x(),
            "--sigma",
            sigma(),
            "--labels",
            file("l.npy"),
            "--out",
            out)
        .succeeded();
    float[] mixed = NpyFile.read(out).floats();
    float[] expected = TinyModel.values("out/D");
    System.arraycopy(TinyModel.values("out/D_uncond"), 64, expected, 64, 64);
    Golden.assertClose("mixed", mixed, expected, 2e-5, 1e-4);
  }

  @Test
  void weightsThatDoNotFitAreRefusedWithWhatToDo() throws IOException {
    refusedWithout(
        name -> name.replaceFirst("model[.]", ""),
        "is called \"map_label.weight\" in this file; save the state dict of the preconditioner");
    refusedWithout(
        name -> name.equals("model.map_layer1.bias") ? "model.other" : name,
        "is not in this file; the configuration beside it must describe the network of these");
  }

  private void refusedWithout(UnaryOperator<String> renaming, String reason) throws IOException {
    Path renamed = Files.createDirectories(file("renamed"));
    Files.copy(
        model.resolve("config.json"),
        renamed.resolve("config.json"),
        StandardCopyOption.REPLACE_EXISTING);
    try (var reader = SafetensorsReader.open(model.resolve("model.safetensors"))) {
      var writer = new SafetensorsWriter();
      for (TensorEntry entry : reader.entries()) {
        writer.floats(
            renaming.apply(entry.name()), entry.shape(), () -> reader.floats(entry.name()));
      }
      writer.write(renamed.resolve("model.safetensors"));
    }
    Call.of("denoise", renamed, "--x", x(), "--sigma", sigma(), "--out", file("d.npy"))
        .refused(ExitStatus.FAILURE, reason);
  }

  @Test
  void oneNoiseLevelServesAll() {
    NpyFile.write(file("one.npy"), new float[] {0.5f});
    NpyFile.write(file("two.npy"), new float[] {0.5f, 0.5f}, 2);
    Call.of("denoise", model, "--x", x(), "--sigma", file("one.npy"), "--out", file("a.npy"))
        .succeeded();
    Call.of("denoise", model, "--x", x(), "--sigma", file("two.npy"), "--out", file("b.npy"))
        .succeeded();
    assertThat(file("a.npy")).hasSameBinaryContentAs(file("b.npy"));
  }

  @ParameterizedTest
  @CsvSource({"0", "-1", "NaN", "Infinity"})
  void impossibleNoiseLevelsAreRefused(float level) {
    NpyFile.write(file("s.npy"), new float[] {1, level}, 2);
    Call.of("denoise", model, "--x", x(), "--sigma", file("s.npy"), "--out", file("d.npy"))
        .refused(1, "a noise level must be finite and above 0, got " + level);
    assertThat(file("d.npy")).doesNotExist();
  }

  @Test
  void wrongArraysAreRefused() {
    NpyFile.write(file("three.npy"), new float[] {1, 1, 1}, 3);
    Call.of("denoise", model, "--x", x(), "--sigma", file("three.npy"), "--out", file("d.npy"))
        .refused(1, "must hold 1 noise level or 2, got shape (3)");
    NpyFile.write(file("nhwc.npy"), new float[128], 2, 8, 8, 1);
    Call.of("denoise", model, "--x", file("nhwc.npy"), "--sigma", sigma(), "--out", file("d.npy"))
        .refused(1, "must have shape (N, 1, 8, 8), got (2, 8, 8, 1)");
    Call.of(
            "denoise",
            model,
            "--x",
            model.resolve("config.json"),
            "--sigma",
            sigma(),
            "--out",
            file("d.npy"))
        .refused(1, "is not a .npy file");
  }

  @Test
  void sampleRepeatsItself() {
    Path first = file("a.npy");
    Path second = file("b.npy");
    for (Path out : new Path[] {first, second}) {
      Call.of("sample", model, "--count", 5, "--steps", 3, "--seed", 7, "--out", out).succeeded();
    }
    assertThat(first).hasSameBinaryContentAs(second);
    assertThat(NpyFile.read(first).shape()).containsExactly(5, 1, 8, 8);
  }

  @Test
  void anImageDoesNotDependOnHowManyAreDrawn() {
    Call.of("sample", model, "--count", 131, "--steps", 1, "--out", file("many.npy")).succeeded();
    Call.of("sample", model, "--count", 3, "--steps", 1, "--out", file("few.npy")).succeeded();
    float[] many = NpyFile.read(file("many.npy")).floats();
    float[] few = NpyFile.read(file("few.npy")).floats();
    Golden.assertClose("image", few, Arrays.copyOf(many, few.length), 1e-5, 1e-5);
  }

  @Test
  void anotherSeedOrClassIsAnotherImage() {
    Path base = file("base.npy");
    Call.of("sample", model, "--count", 2, "--labels", "1", "--out", base, "--steps", 2)
        .succeeded();
    Call.of(
            "sample",
            model,
            "--count",
            2,
            "--labels",
            "1",
            "--out",
            file("s.npy"),
            "--steps",
            2,
            "--seed",
            1)
        .succeeded();
    Call.of("sample", model, "--count", 2, "--labels", "2,1", "--out", file("l.npy"), "--steps", 2)
        .succeeded();
    float[] expected = NpyFile.read(base).floats();
    assertThat(NpyFile.read(file("s.npy")).floats()).isNotEqualTo(expected);
    float[] relabelled = NpyFile.read(file("l.npy")).floats();
    assertThat(Arrays.copyOf(relabelled, 64)).isNotEqualTo(Arrays.copyOf(expected, 64));
    Golden.assertClose(
        "same class",
        Arrays.copyOfRange(relabelled, 64, 128),
        Arrays.copyOfRange(expected, 64, 128),
        1e-5,
        1e-5);
  }

  @Test
  void oneStepFromGivenNoiseIsDenoisingAt80() {
    Path noise = TinyModel.npy("in/x", file("z.npy"));
    float[] scaled = TinyModel.values("in/x");
    for (int i = 0; i < scaled.length; i++) {
      scaled[i] *= 80;
    }
    NpyFile.write(file("x.npy"), scaled, 2, 1, 8, 8);
    NpyFile.write(file("s.npy"), new float[] {80}, 1);
    Call.of(
            "sample",
            model,
            "--noise",
            noise,
            "--steps",
            1,
            "--labels",
            "none",
            "--out",
            file("a.npy"))
        .succeeded();
    Call.of(
            "denoise",
            model,
            "--x",
            file("x.npy"),
            "--sigma",
            file("s.npy"),
            "--out",
            file("b.npy"))
        .succeeded();
    Golden.assertClose(
        "one step",
        NpyFile.read(file("a.npy")).floats(),
        NpyFile.read(file("b.npy")).floats(),
        1e-4,
        1e-4);
  }

  @Test
  void aPictureIsAPng() throws IOException {
    Path out = file("grid.png");
    Call done = Call.of("sample", model, "--count", 4, "--steps", 1, "--out", out, "--json");
    assertThat(done.json().get("nfe")).isEqualTo(1L);
    assertThat(Files.readAllBytes(out)).startsWith(0x89, 'P', 'N', 'G');
    assertThat(folder).isDirectoryContaining(path -> path.equals(out));
    assertThat(folder.toFile().list()).hasSize(1);
  }

  @ParameterizedTest
  @CsvSource({"--profile", "--profile=kernels", "--profile=shapes", "--profile shapes"})
  void theProfileDoesNotSwallowTheModel(String profile) {
    List<Object> call = new ArrayList<>(List.of("sample"));
    call.addAll(List.of(profile.split(" ")));
    call.addAll(List.of(model, "--count", 32, "--steps", 2, "--out", file("a.npy")));
    Call done = Call.of(call.toArray()).succeeded();
    assertThat(done.err()).contains("conv2d");
    assertThat(done.err().contains("(32, 8, 8, ")).isEqualTo(profile.endsWith("shapes"));
  }

  @Test
  void anUnknownProfileIsRefused() {
    Call.of("sample", model, "--profile=all", "--out", file("a.npy"))
        .refused(2, "--profile must be kernels or shapes, got 'all'");
  }

  @Test
  void wrongSamplingCallsAreRefused() throws IOException {
    Path noise = TinyModel.npy("in/x", file("z.npy"));
    Call.of("sample", model, "--noise", noise, "--count", 3, "--out", file("a.npy"))
        .refused(1, "holds 2 latents, but --count is 3");
    Call.of("sample", model, "--labels", "3", "--out", file("a.npy"))
        .refused(2, "from 0 to 2, got '3'");
    Call.of("sample", model, "--count", 2_000_000_000, "--out", file("a.npy"))
        .refused(2, "must be at most 33554431");
    Path broken = Files.createDirectory(file("broken"));
    Call.of("sample", broken, "--out", file("a.npy")).refused(1, "holds no model.safetensors");
    Files.writeString(broken.resolve("model.safetensors"), "{}");
    Call.of("sample", broken, "--out", file("a.npy")).refused(1, "config.json");
    Files.copy(model.resolve("config.json"), broken.resolve("config.json"));
    Call.of("sample", broken, "--out", file("a.npy")).refused(1, "model.safetensors");
    assertThat(file("a.npy")).doesNotExist();
  }

  @Test
  void evalNeedsDataOfTheModelsShape() {
    Call.of("eval", model, "--data", "fashion-mnist-embedded")
        .refused(1, "images of shape (1, 28, 28, 1), the model makes (1, 8, 8, 1)");
  }
}
