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
import io.retort.recipe.RecipeReader;
import io.retort.recipe.Wiring;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import io.retort.train.RoleState;
import io.retort.train.TrainEvent.StepDone;
import io.retort.train.Trainer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Phases started as CUDA graphs do bit by bit what their kernels do one by one.
@Tag("device")
final class CapturedStepTest {
  private static final int STEPS = 5;

  /// Steps of the recipes launched one by one: what every other way of running them must equal.
  private static final Map<String, Left> SINGLE = new HashMap<>();

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

  private static Recipe recipe(String method, String... sets) {
    List<String> all =
        new ArrayList<>(
            List.of(
                "method=" + method,
                "seed=5",
                "precision=float32",
                "steps=" + STEPS,
                "network.channels=4",
                "network.multipliers=[1]",
                "network.blocks=1",
                "network.attention=[]",
                "network.dropout=0.1",
                "edm.batch=2",
                "edm.optimizer.warmup=3",
                "dmd2.critic_steps=2",
                "dmd2.gan=0.01",
                "dmd2.critic_gan=0.03",
                "dmd2.embedding.weight=1",
                "dmd2.student.warmup=3",
                "dmd2.critic.warmup=3",
                "classifier.batch=1",
                "dmd2.batch=2",
                "dmd2.real_batch=3",
                "dmd2.embedding.width=4",
                "dmd2.embedding.depth=2"));
    all.addAll(List.of(sets));
    return RecipeReader.with(Recipe.DEFAULT, all);
  }

  private static Wiring wiring(Recipe recipe, CudaBackend backend) {
    Dataset data =
        recipe.method().equals("classifier") ? Datasets.get(recipe.data()) : TinyData.SET;
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
    }
  }

  private Left single(String method) {
    return SINGLE.computeIfAbsent(method, m -> run(recipe(m), cuda, false, done -> {}));
  }

  private Left captured(String method, CudaBackend backend) {
    return run(recipe(method), backend, true, done -> {});
  }

  /// An untrained network on disk.
  private Path teacher() {
    try (Trainer trainer = wiring(recipe("edm"), cuda).fresh(null)) {
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

  @Test
  void aTeachersStepsAreTheSame() {
    Left single = single("edm");

    assertSame(captured("edm", cuda), single);
    assertThat(remarks).singleElement().asString().startsWith("cuda graphs: denoise is captured, ");
  }

  @Test
  void jcudaCapturesTheSame() {
    CudaBackend jcuda = CudaUnderTest.open(CudaBinding.JCUDA);
    Left single = single("edm");
    Left captured = captured("edm", jcuda);
    jcuda.useGraphs(false, remark -> {});

    assertSame(captured, single);
    assertThat(remarks).singleElement().asString().startsWith("cuda graphs: denoise is captured, ");
  }

  @Test
  void aClassifiersStepsAreTheSame() {
    Left single = single("classifier");

    assertSame(captured("classifier", cuda), single);
    assertThat(remarks)
        .singleElement()
        .asString()
        .startsWith("cuda graphs: classify is captured, ");
  }

  /// Networks are the same at every step here, so that every run but the first is one launch.
  @Test
  void everyPhaseIsOneLaunchFromItsSecondRunOn() {
    Recipe recipe = recipe("dmd2", "steps=3", "dmd2.embedding.weight=0", "dmd2.critic_steps=1");

    run(recipe, cuda, true, done -> {});

    assertThat(cuda.graphReport())
        .filteredOn(line -> line.contains(" launches a run, 2 times with one; graphs: 1, "))
        .hasSize(2);
  }

  /// With a random network that is another at every step, with tensors of others that come between
  /// and stay, with all idle memory given back in the middle; and once more from a checkpoint.
  @Test
  void aDistillationsStepsAreTheSameWhateverComesBetween() {
    Recipe recipe = recipe("dmd2");
    Left single = single("dmd2");
    Path[] checkpoint = new Path[1];
    Path teacher = teacher();
    cuda.useGraphs(true, remarks::add);
    try (Scope kept = new Scope(cuda.memory());
        Trainer trainer = wiring(recipe, cuda).fresh(teacher)) {
      Left captured =
          run(
              recipe,
              cuda,
              trainer,
              done -> {
                Tensor tensor = kept.zeros(Shape.of(1 << (4 + done.step())), DType.F32);
                cuda.elementwise().affine(tensor, 1, done.step(), tensor);
                if (done.step() == 1) {
                  cuda.memory().trim();
                }
                if (done.step() == 3) {
                  checkpoint[0] = TrainingCheckpoint.save(folder, trainer, 1);
                }
                assertThat(tensor.floats()).containsOnly(done.step());
              });

      assertSame(captured, single);
    }
    try (Trainer trainer =
        wiring(recipe, cuda).restored(checkpoint[0], folder.resolve(ModelFile.CONFIG))) {
      Left rest = run(recipe, cuda, trainer, done -> {});

      assertSame(rest, new Left(single.steps().subList(3, STEPS), single.state()));
    }
    assertThat(remarks)
        .anySatisfy(remark -> assertThat(remark).startsWith("cuda graphs: critic is captured, "));
  }
}
