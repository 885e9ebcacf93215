package io.retort.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.OrtModel;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// `train`, `distill` and `resume` on the embedded images with the smallest network there can be.
class RunCommandsTest {
  private static final String TEACHER =
      """
      method: edm
      steps: 3
      network: {channels: 4, multipliers: [1, 1], attention: []}
      save: {every: 2, samples: 3}
      evaluation: {count: 0, teacher_steps: 1}
      edm: {batch: 4}
      """;
  private static final String STUDENT =
      """
      method: dmd2
      steps: 2
      evaluation: {count: 0, teacher_steps: 1}
      dmd2: {batch: 2, real_batch: 4, embedding: {width: 4, depth: 2}}
      """;

  @TempDir private Path folder;
  private Path teacher;
  private Path student;

  @BeforeEach
  void write() throws IOException {
    teacher = Files.writeString(folder.resolve("teacher.yaml"), TEACHER);
    student = Files.writeString(folder.resolve("student.yaml"), STUDENT);
  }

  @Test
  void aTeacherIsTrainedThenDistilledThenSampled() {
    Path first = folder.resolve("teacher");
    Call trained = Call.of("train", teacher, "--out", first, "--seed", 5, "--json");
    assertThat(trained.json().get("finished")).isEqualTo(true);
    assertThat(first.resolve("recipe.yaml")).content().contains("seed: 5");
    Path second = folder.resolve("student");
    Call distilled =
        Call.of(
            "distill",
            student,
            "--teacher",
            first,
            "--steps",
            1,
            "--out",
            second,
            "--set",
            "dmd2.sigma_max=40");
    assertThat(distilled.succeeded().out()).contains("report.html");
    assertThat(distilled.err()).contains("device: cpu (");
    Path out = folder.resolve("x.npy");
    Call sampled = Call.of("sample", second, "--count", 2, "--out", out, "--json");
    assertThat(sampled.json().get("nfe")).as("as a student is meant to").isEqualTo(1L);
    assertThat(Call.of("inspect", second.resolve("model.safetensors")).succeeded().out())
        .containsPattern("retort.sigma_max +40");
    Call.of("train", teacher, "--out", first).refused(1, "retort resume");
    drawsTheSameElsewhere(second, out);
  }

  /// What a run distilled, as an ONNX graph: from the noise of the first image of seed 0.
  private void drawsTheSameElsewhere(Path run, Path drawn) {
    Path graph = folder.resolve("student.onnx");
    Call.of("export", run, "--format", "onnx", "--out", graph).succeeded();
    var noise = new float[2 * 28 * 28];
    Philox.normals(new PhiloxKey(0, PhiloxKey.Purpose.NOISE, 0, 0), noise);
    try (OrtModel ort = new OrtModel(graph)) {
      float[] images = ort.set("noise", noise, 2, 1, 28, 28).set("labels", new long[] {0, 1}).run();
      assertThat(OrtModel.distance(images, NpyFile.read(drawn).floats())).isLessThan(2e-5);
    }
  }

  @Test
  void aStudentOfTwoStepsIsSampledAsItWasTrained() {
    Path first = folder.resolve("teacher");
    Path second = folder.resolve("student");
    Call.of("train", teacher, "--out", first).succeeded();
    Call.of("distill", student, "--teacher", first, "--out", second, "--set", "dmd2.steps=2")
        .succeeded();
    Path out = folder.resolve("x.npy");

    Call own = Call.of("sample", second, "--count", 2, "--out", out, "--json");
    Call one = Call.of("sample", second, "--count", 2, "--steps", 1, "--out", out, "--json");

    assertThat(own.json().get("nfe")).isEqualTo(2L);
    assertThat(own.json().get("steps")).isEqualTo(2L);
    assertThat(one.json().get("nfe")).isEqualTo(1L);
  }

  @Test
  void runsThatMeasuredThemselvesAreCompared() {
    Path measured = folder.resolve("measured");
    Path plain = folder.resolve("plain");
    Path first = folder.resolve("teacher");
    Call.of("train", teacher, "--out", first).succeeded();
    Call.of(
            "distill",
            student,
            "--teacher",
            first,
            "--out",
            measured,
            "--set",
            "evaluation.count=16",
            "--set",
            "evaluation.every=1")
        .succeeded();
    Call.of("distill", student, "--teacher", first, "--out", plain).succeeded();
    Path out = folder.resolve("comparison");

    Call compared = Call.of("compare", "mine=" + measured, "--out", out).succeeded();

    assertThat(compared.out()).contains("| mine | 1 |", "| mine | 2 |");
    assertThat(out.resolve("comparison.html")).content().contains("Fréchet-LeNet by steps");
    assertThat(out.resolve("comparison.csv")).content().contains("mine,measured,0,2,");
    assertThat(out.resolve("comparison.svg")).content().startsWith("<svg");
    Call.of("compare", "mine=" + plain, "--out", out).refused(1, "evaluation.every");
    Call.of("compare", plain, "--out", out).refused(2, "NAME=RUN");
    Call.of("compare", "a=" + measured, "--out", out, "--metric", "beauty").refused(2, "precision");
  }

  @Test
  void recipesAreRunAndComparedOncePerSeed() {
    Path first = folder.resolve("teacher");
    Call.of("train", teacher, "--out", first).succeeded();
    Path out = folder.resolve("comparison");
    Object[] compare = {
      "compare",
      student,
      "--seeds",
      "4",
      "--out",
      out,
      "--set",
      "dmd2.teacher=" + first,
      "--set",
      "evaluation.count=16",
      "--set",
      "steps=2",
      "--controls",
      1
    };

    assertThat(Call.of(compare).succeeded().out())
        .contains("| student | 1 |", "| student | 2 |", "| student without el | 2 |")
        .containsPattern("\\| student \\| 2 \\| \\d+ \\| 16 \\| .* \\| without el \\|");
    assertThat(out.resolve("student-without_el-4/recipe.yaml")).content().contains("weight: 0");
    assertThat(out.resolve("comparison-samples.svg")).content().containsOnlyOnce("<image");
    assertThat(out.resolve("comparison-wall.svg")).content().doesNotContain("without el");
    assertThat(out.resolve("comparison.html")).content().contains("without el");
    assertThat(out.resolve("student-4/summary.json")).exists();
    assertThat(out.resolve("student-4/recipe.yaml")).content().contains("seed: 4");
    assertThat(out.resolve("comparison.csv")).content().contains("student,student-4,4,2,");
    assertThat(Call.of(compare).succeeded().err()).doesNotContain("step 1/2");
    Call.of("compare", folder.resolve("no.yaml"), "--out", out).refused(2, "or a recipe");
  }

  @Test
  void recipesOfTheOtherCommandAreRefused() {
    Call.of("train", student, "--out", folder.resolve("x")).refused(1, "retort distill");
    Call.of("distill", teacher, "--out", folder.resolve("x")).refused(1, "retort train");
    assertThat(folder.resolve("x")).doesNotExist();
  }

  @Test
  void wrongSettingsNameTheKey() {
    Path out = folder.resolve("x");
    Call.of("distill", student, "--out", out, "--set", "dmd2.gann=1").refused(1, "dmd2.gan");
    Call.of("distill", student, "--out", out, "--set", "steps=0").refused(1, "steps");
    Call.of("distill", student, "--out", out, "--set", "nonsense").refused(1, "key=value");
    assertThat(out).doesNotExist();
  }

  @Test
  void aMissingTeacherIsSaidInOneSentence() {
    Call failed =
        Call.of("distill", student, "--teacher", "no: such # one", "--out", folder.resolve("x"));
    assertThat(failed.status()).isEqualTo(1);
    assertThat(failed.err().lines().toList().getLast())
        .startsWith("retort: ")
        .contains("no: such # one: does not exist");
  }

  /// In a process of its own: signals belong to the whole JVM.
  @Test
  @Timeout(value = 2, unit = TimeUnit.MINUTES)
  void aSignalSavesAndResumingGoesOn() throws Exception {
    Path run = folder.resolve("run");
    Path errors = folder.resolve("stderr");
    Process process =
        new ProcessBuilder(command("train", teacher, "--steps", 100000, "--out", run))
            .redirectError(errors.toFile())
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start();
    try {
      Path metrics = run.resolve("metrics.jsonl");
      while (process.isAlive() && !(Files.exists(metrics) && Files.size(metrics) > 0)) {
        Thread.sleep(20);
      }
      process.destroy();
      assertThat(process.waitFor()).as(Files.readString(errors)).isEqualTo(1);
    } finally {
      process.destroyForcibly();
    }
    assertThat(Files.readString(errors, StandardCharsets.UTF_8))
        .contains("stopping after this step")
        .containsPattern("stopped at step \\d+ of 100000; continue with: retort resume");
    assertThat(run.resolve("model.safetensors")).exists();
    Call.of("inspect", run.resolve("model.safetensors")).succeeded();
  }

  private static List<String> command(Object... arguments) {
    String path =
        System.getProperty("java.class.path")
            + System.getProperty("path.separator")
            + System.getProperty("jdk.module.path", "");
    var command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:+UseSerialGC",
                "--enable-native-access=ALL-UNNAMED",
                "--class-path",
                path,
                Main.class.getName()));
    for (Object argument : arguments) {
      command.add(argument.toString());
    }
    return command;
  }
}
