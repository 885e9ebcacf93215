package io.retort;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.backend.CpuBackend;
import io.retort.backend.CudaBackend;
import io.retort.checkpoint.ModelFile;
import io.retort.data.Batch;
import io.retort.data.Dataset;
import io.retort.data.Datasets;
import io.retort.diffusion.Denoiser;
import io.retort.distill.EdmTraining;
import io.retort.distill.Method;
import io.retort.distill.MethodKind;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Parameters;
import io.retort.net.UNet;
import io.retort.op.Backend;
import io.retort.recipe.Recipe;
import io.retort.recipe.RecipeReader;
import io.retort.recipe.Wiring;
import io.retort.train.TrainEvent;
import io.retort.train.Trainer;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.LongFunction;
import java.util.stream.Stream;

/// A few steps of a method on 8x8 images with the smallest network, from one teacher.
public final class MethodSteps {
  static final int STEPS = 3;

  /// A large eps, so that Adam does not turn the sign of a gradient that is almost zero into a
  /// whole step.
  private static final List<String> COMMON =
      List.of(
          "seed=5",
          "precision=float32",
          "steps=" + STEPS,
          "network.channels=8",
          "network.multipliers=[1, 1]",
          "network.attention=[4]",
          "edm.batch=4",
          "edm.optimizer.warmup=0",
          "edm.optimizer.eps=0.01");

  private static final Path TEACHER = folder();

  static {
    drawTeacher();
  }

  private MethodSteps() {}

  /// The recipe of a few steps.
  ///
  /// @param settings of the method, without its name
  /// @param sets whole keys
  public static Recipe recipe(MethodKind<?> kind, List<String> settings, String... sets) {
    List<String> all = new ArrayList<>(COMMON);
    all.addFirst("method=" + kind.name());
    settings.forEach(setting -> all.add(kind.name() + "." + setting));
    all.addAll(List.of(sets));
    return RecipeReader.with(Recipe.DEFAULT, all);
  }

  public static Wiring wiring(Recipe recipe, Backend backend) {
    boolean images28 = recipe.kind().goal() == Goal.METRIC_NET;
    Dataset data = images28 ? Datasets.get(recipe.data()) : TinyData.SET;
    return new Wiring(recipe, data, backend);
  }

  /// At step 0; closed by the caller.
  public static Trainer trainer(Recipe recipe, Backend backend) {
    return wiring(recipe, backend).fresh(TEACHER);
  }

  public static LongFunction<Batch> batches(Recipe recipe, Trainer trainer, Backend backend) {
    return wiring(recipe, backend).source(trainer, TEACHER.resolve("pairs"), done -> {});
  }

  /// What a few steps of a recipe did.
  ///
  /// @param losses the last value of every log column
  /// @param before first weights by role
  /// @param after last weights by role
  /// @param moved roles that a phase trains or a blend moves
  public record Taken(
      SequencedMap<String, Double> losses,
      Map<String, float[]> before,
      Map<String, float[]> after,
      Set<String> moved) {}

  public static Taken take(Recipe recipe, Backend backend) {
    try (Trainer trainer = trainer(recipe, backend)) {
      Map<String, float[]> before = weights(trainer);
      SequencedMap<String, Double> losses = new LinkedHashMap<>();
      trainer.run(
          batches(recipe, trainer, backend),
          () -> false,
          event -> {
            if (event instanceof TrainEvent.StepDone done) {
              losses.putAll(done.values());
            }
          });
      Set<String> moved = new LinkedHashSet<>();
      trainer.method().phases().forEach(phase -> moved.addAll(phase.trains()));
      trainer.method().blends(0).forEach(blend -> moved.add(blend.role()));
      return new Taken(losses, before, weights(trainer), moved);
    }
  }

  /// Steps whose phases may be started as CUDA graphs leave the bits that their kernels leave one
  /// by one.
  ///
  /// @return what was said of the phases that were captured
  public static List<String> assertGraphsChangeNothing(Recipe recipe) {
    CudaBackend cuda = CudaUnderTest.open();
    Taken single = take(recipe, cuda);
    List<String> remarks = new ArrayList<>();
    cuda.useGraphs(true, remarks::add);
    try {
      Taken captured = take(recipe, cuda);
      assertThat(captured.losses()).isEqualTo(single.losses());
      single
          .after()
          .forEach((role, weights) ->
              assertThat(captured.after().get(role)).as(role).isEqualTo(weights));
      return remarks;
    } finally {
      cuda.useGraphs(false, remark -> {});
    }
  }

  static Map<String, float[]> weights(Trainer trainer) {
    Map<String, float[]> weights = new HashMap<>();
    trainer.roles().forEach((name, role) -> weights.put(name, role.weights().values().floats()));
    return weights;
  }

  private static void drawTeacher() {
    Recipe recipe = recipe(EdmTraining.KIND, List.of());
    Backend cpu = CpuBackend.open();
    try (Trainer trainer = wiring(recipe, cpu).fresh(null)) {
      trainer.run(batches(recipe, trainer, cpu), () -> false, event -> {});
      Parameters weights = trainer.roles().firstEntry().getValue().weights();
      UNet net = (UNet) trainer.roles().get(Method.TEACHER).role().net();
      ModelFile.save(TEACHER, new Denoiser(net, 0.5), weights, Map.of());
    }
  }

  /// One for all tests of a process, gone with it.
  private static Path folder() {
    try {
      Path folder = Files.createTempDirectory("retort-teacher-");
      Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(folder)));
      return folder;
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  private static void delete(Path folder) {
    try (Stream<Path> all = Files.walk(folder)) {
      all.sorted(Comparator.reverseOrder()).map(Path::toFile).forEach(File::delete);
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }
}
