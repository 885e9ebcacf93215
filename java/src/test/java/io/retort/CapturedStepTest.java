package io.retort;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.backend.CudaBackend;
import io.retort.backend.CudaBinding;
import io.retort.checkpoint.ModelFile;
import io.retort.checkpoint.TrainingCheckpoint;
import io.retort.data.BatchSampler;
import io.retort.data.Dataset;
import io.retort.data.Datasets;
import io.retort.diffusion.Denoiser;
import io.retort.grad.Parameters;
import io.retort.net.UNet;
import io.retort.recipe.Recipe;
import io.retort.recipe.Recipe.MethodName;
import io.retort.recipe.RecipeReader;
import io.retort.recipe.Wiring;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import io.retort.train.RoleState;
import io.retort.train.TrainEvent.StepDone;
import io.retort.train.Trainer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// Phases started as CUDA graphs do bit by bit what their kernels do one by one.
@Tag("device")
final class CapturedStepTest {
  private static final int STEPS = 5;

  private final CudaBackend cuda = CudaUnderTest.open();
  private final List<String> remarks = new ArrayList<>();
  private long liveBefore;

  @TempDir private Path folder;

  @BeforeEach
  void count() {
    liveBefore = cuda.memory().liveBlocks();
  }

  @AfterEach
  void nothingLeaksAndGraphsAreOff() {
    cuda.useGraphs(false, remark -> {});
    assertThat(cuda.memory().liveBlocks()).as("live tensors").isEqualTo(liveBefore);
  }

  private static Recipe recipe(MethodName method, String... sets) {
    List<String> all =
        new ArrayList<>(
            List.of(
                "method=" + method.name().toLowerCase(Locale.ROOT),
                "seed=5",
                "precision=float32",
                "steps=" + STEPS,
                "network.channels=8",
                "network.multipliers=[1, 1]",
                "network.attention=[4]",
                "network.dropout=0.1",
                "edm.batch=2",
                "edm.optimizer.warmup=3",
                "dmd2.critic_steps=2",
                "dmd2.gan=0.01",
                "dmd2.critic_gan=0.03",
                "dmd2.embedding.weight=1",
                "dmd2.student.warmup=3",
                "dmd2.critic.warmup=3",
                "classifier.batch=4",
                "dmd2.batch=2",
                "dmd2.real_batch=4",
                "dmd2.embedding.width=8",
                "dmd2.embedding.depth=2"));
    all.addAll(List.of(sets));
    return RecipeReader.with(Recipe.DEFAULT, all);
  }

  private static Wiring wiring(Recipe recipe, CudaBackend backend) {
    Dataset data =
        recipe.method() == MethodName.CLASSIFIER ? Datasets.get(recipe.data()) : TinyData.SET;
    return new Wiring(recipe, data, backend);
  }

  /// Everything that a run leaves behind, by name, and the log of its steps.
  private record Left(List<Map<String, Double>> steps, Map<String, float[]> state) {}

  private Left run(Recipe recipe, CudaBackend backend, Trainer trainer, Consumer<StepDone> after) {
    List<Map<String, Double>> steps = new ArrayList<>();
    BatchSampler batches = wiring(recipe, backend).batches(trainer.method());
    trainer.run(
        batches::batch,
        () -> false,
        event -> {
          if (event instanceof StepDone done) {
            steps.add(done.values());
            after.accept(done);
          }
        });
    Map<String, float[]> state = new LinkedHashMap<>();
    trainer.roles().forEach((name, role) -> put(state, name, role));
    return new Left(steps, state);
  }

  private static void put(Map<String, float[]> state, String name, RoleState role) {
    state.put(name, role.weights().values().floats());
    if (role.average() != null) {
      state.put(name + " average", role.average().values().floats());
    }
    if (role.adam() != null) {
      state.put(name + " first", role.adam().first().floats());
      state.put(name + " second", role.adam().second().floats());
      state.put(name + " updates", new float[] {role.adam().updates()});
    }
  }

  /// One run from the beginning.
  private Left run(Recipe recipe, CudaBackend backend, boolean graphs, Consumer<StepDone> after) {
    Path teacher = teacher();
    backend.useGraphs(graphs, remarks::add);
    try (Trainer trainer = wiring(recipe, backend).fresh(teacher)) {
      return run(recipe, backend, trainer, after);
    } finally {
      backend.useGraphs(false, remark -> {});
    }
  }

  private Left run(Recipe recipe, boolean graphs) {
    return run(recipe, cuda, graphs, done -> {});
  }

  /// An untrained network on disk.
  private Path teacher() {
    try (Trainer trainer = wiring(recipe(MethodName.EDM), cuda).fresh(null)) {
      RoleState role = trainer.roles().firstEntry().getValue();
      UNet net = (UNet) role.role().net();
      Parameters weights = role.weights();
      ModelFile.save(folder, new Denoiser(net, 0.5), weights, Map.of());
      return folder;
    }
  }

  private static void assertSame(Left actual, Left expected) {
    assertThat(actual.steps()).isEqualTo(expected.steps());
    assertThat(actual.state().keySet()).isEqualTo(expected.state().keySet());
    expected
        .state()
        .forEach((name, values) -> assertThat(actual.state().get(name)).as(name).isEqualTo(values));
  }

  @ParameterizedTest
  @EnumSource(names = {"EDM", "CLASSIFIER", "DMD2"})
  void graphsDoWhatSingleLaunchesDo(MethodName method) {
    Left single = run(recipe(method), false);
    Left captured = run(recipe(method), true);

    assertSame(captured, single);
    String phase =
        switch (method) {
          case EDM -> "denoise";
          case CLASSIFIER -> "classify";
          case DMD2 -> "critic";
          default -> throw new AssertionError(method);
        };
    assertThat(remarks)
        .anySatisfy(
            remark -> assertThat(remark).startsWith("cuda graphs: " + phase + " is captured, "));
  }

  /// The phases whose networks are the same at every step: all runs but the first are one launch.
  @Test
  void everyPhaseIsOneLaunchFromItsSecondRunOn() {
    cuda.useGraphs(true, remarks::add);
    Recipe recipe = recipe(MethodName.DMD2, "dmd2.embedding.weight=0", "dmd2.critic_steps=1");
    List<String> before = cuda.graphReport();
    run(recipe, true);

    assertThat(before).isEmpty();
    assertThat(cuda.graphReport())
        .hasSize(2)
        .allSatisfy(line ->
            assertThat(line)
                .containsPattern("(student|critic) has \\d graphs? ")
                .contains("4 of its 5 runs were one launch each"));
  }

  @Test
  void otherWorkBetweenStepsChangesNothing() {
    Recipe recipe = recipe(MethodName.DMD2);
    Left single = run(recipe, false);
    try (Scope kept = new Scope(cuda.memory())) {
      Left captured =
          run(
              recipe,
              cuda,
              true,
              done -> {
                Tensor tensor = kept.allocate(Shape.of(1 << (4 + done.step()))).zero();
                cuda.elementwise().affine(tensor, 1, done.step(), tensor);
                if (done.step() == 3) {
                  cuda.memory().trim();
                }
                assertThat(tensor.floats()).containsOnly(done.step());
              });

      assertSame(captured, single);
    }
  }

  @Test
  void resumingEqualsNeverHavingStopped() {
    Recipe recipe = recipe(MethodName.DMD2);
    Path teacher = teacher();
    Left whole;
    cuda.useGraphs(true, remarks::add);
    Path[] checkpoint = new Path[1];
    try (Trainer trainer = wiring(recipe, cuda).fresh(teacher)) {
      whole =
          run(
              recipe,
              cuda,
              trainer,
              done -> {
                if (done.step() == 3) {
                  checkpoint[0] = TrainingCheckpoint.save(folder, trainer, 1);
                }
              });
    }
    try (Trainer trainer =
        wiring(recipe, cuda).restored(checkpoint[0], folder.resolve(ModelFile.CONFIG))) {
      Left rest = run(recipe, cuda, trainer, done -> {});

      assertSame(rest, new Left(whole.steps().subList(3, STEPS), whole.state()));
    }
  }

  @Test
  void jcudaCapturesTheSame() {
    CudaBackend jcuda = CudaUnderTest.open(CudaBinding.JCUDA);
    Left single = run(recipe(MethodName.EDM), false);
    Left captured = run(recipe(MethodName.EDM), jcuda, true, done -> {});

    assertSame(captured, single);
    assertThat(remarks).anySatisfy(remark -> assertThat(remark).contains("denoise is captured"));
  }
}
