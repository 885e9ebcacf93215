package io.retort.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.TinyData;
import io.retort.backend.CpuBackend;
import io.retort.backend.KernelProfile;
import io.retort.bindings.cpu.NativeLibrary;
import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.ModelFile;
import io.retort.checkpoint.SafetensorsReader;
import io.retort.checkpoint.TrainingCheckpoint;
import io.retort.data.Json;
import io.retort.op.Backend;
import io.retort.recipe.Recipe;
import io.retort.recipe.RecipeException;
import io.retort.recipe.RecipeReader;
import io.retort.train.DivergedException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Whole runs on 8x8 images: what they leave, that stopping loses nothing, and how they refuse.
class RunTest {
  private static final List<String> TINY =
      List.of(
          "data=tiny",
          "seed=3",
          "network.channels=8",
          "network.multipliers=[1, 1]",
          "network.attention=[4]",
          "save.every=4",
          "save.samples=4",
          "evaluation.count=0",
          "evaluation.teacher_steps=3",
          "edm.batch=8",
          "dmd2.gan=0.01",
          "dmd2.batch=4",
          "dmd2.real_batch=8",
          "dmd2.embedding.width=8",
          "dmd2.embedding.depth=2");

  @TempDir private static Path shared;
  private static Path teacher;

  private final Backend backend = CpuBackend.open();
  @TempDir private Path folder;
  private long liveBefore;

  @BeforeAll
  static void trainTeacher() {
    teacher = shared.resolve("teacher");
    Run.start(edm(6), teacher, CpuBackend.open(), options());
  }

  @BeforeEach
  void count() {
    liveBefore = backend.memory().liveBlocks();
  }

  @AfterEach
  void nothingLeaks() {
    assertThat(backend.memory().liveBlocks()).as("live tensors").isEqualTo(liveBefore);
  }

  private static Recipe tiny(String... sets) {
    List<String> all = new ArrayList<>(TINY);
    all.addAll(List.of(sets));
    return RecipeReader.with(Recipe.DEFAULT, all);
  }

  private static Recipe edm(long steps) {
    return tiny("method=edm", "steps=" + steps);
  }

  private static Recipe dmd2(long steps, String... sets) {
    List<String> all =
        new ArrayList<>(
            List.of("steps=" + steps, "dmd2.teacher=" + Json.write(teacher.toString())));
    all.addAll(List.of(sets));
    return tiny(all.toArray(String[]::new));
  }

  private static RunOptions options() {
    return RunOptions.silent().withData(name -> TinyData.SET);
  }

  /// Says stop when asked for the n-th time.
  private static BooleanSupplier after(int n) {
    AtomicInteger asked = new AtomicInteger();
    return () -> asked.incrementAndGet() > n;
  }

  private RunOutcome start(Recipe recipe, String name) {
    return Run.start(recipe, folder.resolve(name), backend, options());
  }

  /// What is said of the processor does not depend on whether its kernels are timed.
  @Test
  void aTimedProcessorIsAProcessor() {
    Recipe recipe = tiny("method=edm", "steps=1", "precision=bfloat16");
    List<String> plain = new ArrayList<>();
    List<String> timed = new ArrayList<>();
    BooleanSupplier atOnce = () -> true;
    Run.start(
        recipe, folder.resolve("plain"), backend, options().withStop(atOnce).withNotes(plain::add));
    Run.start(
        recipe,
        folder.resolve("timed"),
        new KernelProfile(backend).backend(),
        options().withStop(atOnce).withNotes(timed::add));
    assertThat(timed).isEqualTo(plain);
    assertThat(plain.stream().anyMatch(note -> note.contains("no bfloat16 arithmetic")))
        .isNotEqualTo(NativeLibrary.cpu().multipliesBfloat16());
  }

  @Test
  void aDistillationLeavesEverything() throws IOException {
    List<String> lines = new ArrayList<>();
    Path run = folder.resolve("run");
    RunOutcome outcome = Run.start(dmd2(6), run, backend, options().withProgress(lines::add));

    assertThat(outcome.finished()).isTrue();
    assertThat(outcome.sentence()).isEqualTo("done: " + run.resolve("report.html"));
    assertThat(run.resolve("recipe.yaml")).exists();
    assertThat(RecipeReader.read(run.resolve("recipe.yaml"), List.of())).isEqualTo(dmd2(6));
    assertThat(Json.parseObject(Files.readString(run.resolve("env.json"))))
        .containsKeys("backend", "java", "isa");
    assertThat(run.resolve("samples/step-00000004.png")).exists();
    assertThat(run.resolve("samples/step-00000006.png")).exists();
    assertThat(names(run.resolve("checkpoints")))
        .containsExactlyInAnyOrder("step-00000004.safetensors", "step-00000006.safetensors");
    assertThat(names(run)).anyMatch(name -> name.startsWith("events.out.tfevents."));
    assertThat(Files.readString(run.resolve("report.html")))
        .contains("A one-step student", "student", "teacher");
    assertThat(lines)
        .anyMatch(line -> line.startsWith("step 6/6  ") && line.contains("critic/denoising"));
    Map<String, Object> summary = Json.parseObject(Files.readString(run.resolve("summary.json")));
    assertThat(summary)
        .containsEntry("steps", 6L)
        .containsEntry("seed", 3L)
        .containsEntry("live_tensors_at_end", 0L)
        .containsKeys("wall_seconds", "rows", "device", "embedding_weight");
    try (ModelFile model = ModelFile.load(run, backend.memory())) {
      assertThat(model.metadata()).containsEntry(ModelFile.EVALUATIONS, "1");
    }
  }

  @Test
  void aStudentOfTwoStepsIsSampledInTwo() throws IOException {
    start(dmd2(2, "dmd2.steps=2", "dmd2.gan=0", "dmd2.embedding.weight=0"), "run");

    try (ModelFile model = ModelFile.load(folder.resolve("run"), backend.memory())) {
      assertThat(model.metadata())
          .containsEntry(ModelFile.EVALUATIONS, "2")
          .containsEntry(ModelFile.SIGMA_MAX, "80.0");
      assertThat(model.metadata().get(ModelFile.LEVELS)).startsWith("80.0,2.5");
    }
    assertThat(Files.readString(folder.resolve("run/report.html"))).contains("A 2-step student");
  }

  @Test
  void everyLossIsFinite() {
    start(dmd2(6), "run");

    List<Map<String, Object>> lines = lines("run");
    assertThat(lines).hasSize(6);
    assertThat(lines)
        .allSatisfy(line -> assertThat(line.values()).allMatch(value -> value instanceof Number));
    assertThat(lines.getFirst())
        .containsKeys(
            "step",
            "student/distribution_matching",
            "student/gan",
            "student/embedding",
            "student/student_gradient_norm",
            "critic/denoising",
            "critic/discriminator",
            "critic/critic_gradient_norm",
            "critic/head_gradient_norm");
    assertThat(lines.get(1)).doesNotContainKey("student/gan");
  }

  @Test
  void resumingEqualsNeverHavingStopped() throws IOException {
    start(dmd2(7), "whole");
    Path parts = folder.resolve("parts");
    RunOutcome first = Run.start(dmd2(7), parts, backend, options().withStop(after(3)));

    assertThat(first.finished()).isFalse();
    assertThat(first.step()).isEqualTo(3);
    assertThat(first.sentence())
        .isEqualTo("stopped at step 3 of 7; continue with: retort resume " + parts);
    RunOutcome second = Run.resume(parts, backend, options().withStop(after(2)));
    assertThat(second.step()).isEqualTo(5);
    assertThat(Run.resume(parts, backend, options()).finished()).isTrue();

    String last = "checkpoints/step-00000007.safetensors";
    assertThat(parts.resolve(last)).hasSameBinaryContentAs(folder.resolve("whole").resolve(last));
    assertThat(parts.resolve("model.safetensors"))
        .hasSameBinaryContentAs(folder.resolve("whole/model.safetensors"));
    assertThat(losses("parts")).isEqualTo(losses("whole"));
  }

  @Test
  void whatAKilledRunDidAfterItsCheckpointIsDoneAgain() throws IOException {
    start(dmd2(7), "whole");
    Path killed = folder.resolve("killed");
    Run.start(dmd2(7), killed, backend, options().withStop(after(6)));
    Files.delete(killed.resolve("checkpoints/step-00000006.safetensors"));
    Files.writeString(killed.resolve("checkpoints/.step-00000008.x.retort-partial"), "half");
    Files.writeString(
        killed.resolve("metrics.jsonl"),
        Files.readString(killed.resolve("metrics.jsonl")) + "{\"step\": 7, \"stu");

    assertThat(Run.resume(killed, backend, options()).finished()).isTrue();

    String last = "checkpoints/step-00000007.safetensors";
    assertThat(killed.resolve(last)).hasSameBinaryContentAs(folder.resolve("whole").resolve(last));
    assertThat(losses("killed")).isEqualTo(losses("whole"));
    assertThat(names(killed.resolve("checkpoints"))).noneMatch(name -> name.contains("partial"));
  }

  @Test
  void aRunStoppedBeforeItsFirstCheckpointBeginsAgain() throws IOException {
    Path run = folder.resolve("run");
    Run.start(edm(3), run, backend, options().withStop(() -> true));
    try (Stream<Path> checkpoints = Files.list(run.resolve("checkpoints"))) {
      for (Path checkpoint : checkpoints.toList()) {
        Files.delete(checkpoint);
      }
    }

    assertThat(Run.resume(run, backend, options()).finished()).isTrue();
  }

  @Test
  void aFinishedRunStaysAsItIs() throws IOException {
    start(edm(2), "run");
    byte[] report = Files.readAllBytes(folder.resolve("run/report.html"));

    RunOutcome again = Run.resume(folder.resolve("run"), backend, options());

    assertThat(again.finished()).isTrue();
    assertThat(again.summary()).containsEntry("steps", 2L);
    assertThat(folder.resolve("run/report.html")).hasBinaryContent(report);
  }

  @Test
  void theTeacherStaysBitIdentical() {
    start(dmd2(5), "run");

    Path file = TrainingCheckpoint.newest(folder.resolve("run/checkpoints")).orElseThrow();
    try (SafetensorsReader before = SafetensorsReader.open(teacher.resolve("model.safetensors"));
        SafetensorsReader after = SafetensorsReader.open(file)) {
      assertThat(before.entries())
          .isNotEmpty()
          .allSatisfy(entry -> {
            assertThat(after.bytes("teacher/" + entry.name()))
                .isEqualTo(before.bytes(entry.name()));
          });
      assertThat(before.entries())
          .anySatisfy(entry ->
              assertThat(after.bytes("student/" + entry.name()))
                  .isNotEqualTo(before.bytes(entry.name())));
    }
  }

  @Test
  void controlsAreRunsOfTheirOwn() {
    RunOutcome outcome = start(dmd2(2, "evaluation.controls=true"), "run");

    assertThat(outcome.finished()).isTrue();
    assertThat(folder.resolve("run/controls/student_without_el/summary.json")).exists();
    assertThat(folder.resolve("run/controls/student_without_gan/summary.json")).exists();
    assertThat(folder.resolve("run/controls/student_without_dm/summary.json")).exists();
    assertThat(lines("run/controls/student_without_el").getFirst())
        .doesNotContainKey("student/embedding")
        .containsKey("student/gan");
  }

  @Test
  void stoppingWhileATeacherIsTrainedStopsTheRun() {
    Path run = folder.resolve("run");
    Recipe recipe = tiny("steps=4", "dmd2.teacher=train", "edm.label_dropout=0.25");

    RunOutcome outcome = Run.start(recipe, run, backend, options().withStop(after(2)));

    assertThat(outcome.finished()).isFalse();
    assertThat(outcome.step()).isZero();
    assertThat(run.resolve("teacher/recipe.yaml")).content().contains("label_dropout: 0.25");
    assertThat(Run.resume(run, backend, options().withStop(after(1))).finished()).isFalse();
    assertThat(TrainingCheckpoint.newest(run.resolve("teacher/checkpoints")))
        .hasValueSatisfying(file -> assertThat(file).hasFileName("step-00000003.safetensors"));
  }

  @Test
  void aDivergingRunNamesTheTermAndKeepsItsCheckpoint() {
    Path run = folder.resolve("run");
    Recipe recipe =
        RecipeReader.with(
            edm(40), List.of("edm.optimizer.lr=1e30", "edm.optimizer.warmup=0", "save.every=1"));

    assertThatThrownBy(() -> Run.start(recipe, run, backend, options()))
        .isInstanceOf(DivergedException.class)
        .hasMessageMatching(
            "training diverged at step \\d+: denoise/\\w+ is (NaN|-?Infinity); the last checkpoint"
                + " is kept .*");

    assertThat(TrainingCheckpoint.newest(run.resolve("checkpoints"))).isPresent();
  }

  @Test
  void foldersThatCannotBeUsedAreRefusedInOneSentence() throws IOException {
    Files.writeString(folder.resolve("file"), "x");
    Files.createDirectories(folder.resolve("full"));
    Files.writeString(folder.resolve("full/other.txt"), "x");
    start(edm(1), "run");

    assertThatThrownBy(() -> start(edm(1), "full"))
        .isInstanceOf(RunException.class)
        .hasMessageEndingWith("is not empty and holds no run; choose another folder");
    assertThatThrownBy(() -> start(edm(1), "run"))
        .isInstanceOf(RunException.class)
        .hasMessageContaining("holds a run already; continue it with: retort resume ");
    assertThatThrownBy(() -> start(edm(1), "file/below"))
        .isInstanceOf(RunException.class)
        .hasMessageContaining("cannot be made: ");
    assertThatThrownBy(() -> Run.resume(folder.resolve("full"), backend, options()))
        .isInstanceOf(RunException.class)
        .hasMessageEndingWith("holds no run: there is no recipe.yaml");
  }

  @Test
  void oneRunAFolder() {
    Path run = folder.resolve("run");
    List<Throwable> refused = new ArrayList<>();
    Run.start(
        edm(2),
        run,
        backend,
        options()
            .withProgress(line -> {
              try {
                Run.resume(run, backend, options());
              } catch (RunException inUse) {
                refused.add(inUse);
              }
            }));

    assertThat(refused)
        .hasSizeGreaterThanOrEqualTo(2)
        .allSatisfy(
            sentence -> assertThat(sentence).hasMessage(run + ": is in use by another run"));
  }

  @Test
  void recipesThatDoNotFitLeaveTheFolderEmpty() {
    assertThatThrownBy(() -> start(tiny("steps=1"), "run"))
        .isInstanceOf(RecipeException.class)
        .hasMessageContaining("dmd2.teacher: none is inside Retort for tiny");
    assertThatThrownBy(() -> start(tiny("steps=1", "dmd2.teacher=nowhere"), "run"))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("nowhere");
    assertThatThrownBy(
            () -> start(tiny("method=edm", "network.multipliers=[1, 1, 1, 1, 1]"), "run"))
        .isInstanceOf(RecipeException.class)
        .hasMessageContaining("network: unet: resolution must be divisible by 2");
    assertThatThrownBy(() -> start(tiny("method=classifier"), "run"))
        .isInstanceOf(RecipeException.class)
        .hasMessageContaining("must be images for the metric net");
    assertThatThrownBy(() -> start(tiny("method=edm", "evaluation.count=500"), "run"))
        .isInstanceOf(RecipeException.class)
        .hasMessageContaining("evaluation.count: must be at most 100");
    assertThat(start(edm(1), "run").finished()).isTrue();
  }

  @Test
  void aDamagedCheckpointIsNamed() throws IOException {
    Path run = folder.resolve("run");
    Run.start(edm(6), run, backend, options().withStop(after(2)));
    Path checkpoint = TrainingCheckpoint.newest(run.resolve("checkpoints")).orElseThrow();
    byte[] content = Files.readAllBytes(checkpoint);
    Files.write(checkpoint, Arrays.copyOf(content, content.length / 2));

    assertThatThrownBy(() -> Run.resume(run, backend, options()))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("step-00000002.safetensors");
  }

  private List<Map<String, Object>> lines(String run) {
    return MetricsLog.read(folder.resolve(run).resolve("metrics.jsonl"));
  }

  /// The columns that do not depend on the clock.
  private List<Map<String, Object>> losses(String run) {
    List<Map<String, Object>> lines = lines(run);
    lines.forEach(line -> line.keySet().removeAll(List.of("seconds", "wall_seconds")));
    return lines;
  }

  private static List<String> names(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.map(file -> file.getFileName().toString()).toList();
    }
  }
}
