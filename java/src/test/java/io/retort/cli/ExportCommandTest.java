package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.backend.CpuBackend;
import io.retort.checkpoint.ModelFile;
import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.OrtModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// `export` through files, as a user would, and what ONNX Runtime makes of them.
class ExportCommandTest {
  @TempDir private Path folder;
  private Path model;

  @BeforeEach
  void write() throws IOException {
    model = TinyModel.write(folder.resolve("model"));
  }

  private Path file(String name) {
    return folder.resolve(name);
  }

  /// The golden model as a student of one step from sigma 7 would be saved.
  private Path student() throws IOException {
    Path student = Files.createDirectory(file("student"));
    try (ModelFile plain = ModelFile.load(model, CpuBackend.open().memory())) {
      Map<String, String> metadata = new LinkedHashMap<>();
      metadata.put(ModelFile.EVALUATIONS, "1");
      metadata.put(ModelFile.SIGMA_MAX, "7");
      ModelFile.save(student, plain.denoiser(), plain.parameters(), metadata);
    }
    return student;
  }

  @Test
  void theStudentsGraphDrawsWhatSampleDraws() throws IOException {
    Path student = student();
    Path noise = TinyModel.npy("in/x", file("z.npy"));
    Path drawn = file("drawn.npy");
    Call.of("sample", student, "--noise", noise, "--labels", "2,0", "--out", drawn).succeeded();

    Path out = file("student.onnx");
    Call done = Call.of("export", student, "--format", "onnx", "--out", out, "--json");

    assertThat(done.json().get("inputs").toString())
        .isEqualTo("[noise float [batch, 1, 8, 8], labels int64 [batch]]");
    assertThat(done.json().get("bytes")).isEqualTo(Files.size(out));
    try (OrtModel ort = new OrtModel(out)) {
      assertThat(ort.described()).contains("noise", "labels", "image", "retort.sigma_max=7");
      float[] image =
          ort.set("noise", TinyModel.values("in/x"), 2, 1, 8, 8)
              .set("labels", new long[] {2, 0})
              .run();
      assertThat(OrtModel.distance(image, NpyFile.read(drawn).floats())).isLessThan(2e-5);
    }
  }

  @Test
  void theDenoiserIsWhatDenoiseComputes() throws IOException {
    Path student = student();
    Path denoised = file("d.npy");
    Call.of(
            "denoise",
            student,
            "--x",
            TinyModel.npy("in/x", file("x.npy")),
            "--sigma",
            TinyModel.npy("in/sigma", file("s.npy")),
            "--labels",
            TinyModel.npy("in/class_labels", file("l.npy")),
            "--out",
            denoised)
        .succeeded();
    Path out = file("denoiser.onnx");
    Call done =
        Call.of(
                "export",
                student,
                "--no-one-step",
                "--opset",
                21,
                "--labels",
                "one-hot",
                "--out",
                out)
            .succeeded();
    assertThat(done.out()).contains("x float [batch, 1, 8, 8]", "sigma float [batch]", "D float");
    try (OrtModel ort = new OrtModel(out)) {
      float[] d =
          ort.set("x", TinyModel.values("in/x"), 2, 1, 8, 8)
              .set("sigma", TinyModel.values("in/sigma"), 2)
              .set("labels", TinyModel.values("in/class_labels"), 2, 3)
              .run();
      assertThat(OrtModel.distance(d, NpyFile.read(denoised).floats())).isLessThan(2e-5);
    }
  }

  @Test
  void aModelOfManyStepsIsADenoiserUnlessAsked() {
    Call done = Call.of("export", model, "--out", file("teacher.onnx"), "--json");
    assertThat(done.json().get("inputs").toString()).startsWith("[x ").contains("sigma");
    Call other =
        Call.of(
            "export", model, "--one-step", "--labels", "none", "--out", file("a.onnx"), "--json");
    assertThat(other.json().get("inputs").toString()).isEqualTo("[noise float [batch, 1, 8, 8]]");
  }

  @Test
  void exportingTwiceGivesTheSameBytes() {
    Call.of("export", model, "--out", file("a.onnx")).succeeded();
    Call.of("export", model, "--out", file("b.onnx")).succeeded();
    assertThat(file("a.onnx")).hasSameBinaryContentAs(file("b.onnx"));
    assertThat(folder.toFile().list()).containsExactlyInAnyOrder("model", "a.onnx", "b.onnx");
  }

  @Test
  void safetensorsKeepEveryBit() throws IOException {
    Path student = student();
    Path copy = Files.createDirectory(file("copy")).resolve("mine.safetensors");
    assertThat(
            Call.of("export", student, "--format", "safetensors", "--out", copy).succeeded().out())
        .contains("mine.safetensors", "config.json");
    assertThat(copy).hasSameBinaryContentAs(student.resolve("model.safetensors"));
    assertThat(copy.resolveSibling("config.json"))
        .hasSameBinaryContentAs(student.resolve("config.json"));
    Path drawn = file("a.npy");
    Path again = file("b.npy");
    Call.of("sample", student, "--count", 2, "--out", drawn).succeeded();
    Call.of("sample", copy, "--count", 2, "--out", again).succeeded();
    assertThat(drawn).hasSameBinaryContentAs(again);
    Call.of("export", student, "--out", copy.resolveSibling("second.safetensors")).succeeded();
  }

  @Test
  void anotherModelsConfigurationIsNotOverwritten() throws IOException {
    Path config = file("config.json");
    String wider =
        Files.readString(model.resolve("config.json"))
            .replace("\"model_channels\": 8", "\"model_channels\": 16");
    Files.writeString(config, wider);
    Call.of("export", model, "--out", file("x.safetensors"))
        .refused(1, "config.json: describes another network; export into a folder of its own");
    assertThat(config).hasContent(wider);
    assertThat(file("x.safetensors")).doesNotExist();
  }

  @Test
  void wrongCallsAreRefused() throws IOException {
    Path out = file("x.onnx");
    Call.of("export", model, "--format", "torchscript", "--out", file("x.pt"))
        .refused(
            2,
            "--format must be onnx or safetensors, got 'torchscript'; PyTorch reads safetensors");
    Call.of("export", model, "--format", "tflite", "--out", out).refused(2, "got 'tflite'");
    Call.of("export", model, "--format", "onnx", "--out", file("x.bin"))
        .refused(2, "must end in .onnx");
    Call.of("export", model, "--out", file("x.bin"))
        .refused(2, "must end in .onnx or .safetensors");
    Call.of("export", model, "--opset", 16, "--out", out).refused(2, "from 17 to 21, got 16");
    Call.of("export", model, "--labels", "names", "--out", out).refused(2, "got 'names'");
    Call.of("export", model, "--opset", 17, "--out", file("x.safetensors"))
        .refused(2, "go with --format onnx");
    Call.of("export", file("none"), "--out", out).refused(1, "does not exist");
    byte[] weights = Files.readAllBytes(model.resolve("model.safetensors"));
    Files.write(model.resolve("model.safetensors"), Arrays.copyOf(weights, weights.length / 2));
    Call.of("export", model, "--out", out).refused(1, "model.safetensors");
    assertThat(out).doesNotExist();
  }
}
