package io.retort;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.retort.backend.CpuBackend;
import io.retort.checkpoint.ModelFile;
import io.retort.data.Batch;
import io.retort.data.BatchSampler;
import io.retort.data.Dataset;
import io.retort.data.Datasets;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.Preconditioning;
import io.retort.distill.Dmd2;
import io.retort.distill.Method;
import io.retort.distill.Nets;
import io.retort.distill.Noise;
import io.retort.distill.StepValues;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.net.UNet;
import io.retort.op.Backend;
import io.retort.recipe.Recipe;
import io.retort.recipe.Recipe.MethodName;
import io.retort.recipe.RecipeReader;
import io.retort.recipe.Wiring;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.train.TrainEvent;
import io.retort.train.Trainer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.LongFunction;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// Every method takes a few steps: its losses are the stored ones, on CUDA's emulator too, and it
/// changes what it declares and nothing else.
class MethodStepTest {
  /// Kernels may sum in another order on another processor. The recipes below have a large eps, so
  /// that Adam does not turn the sign of a gradient that is almost zero into a whole step.
  private static final double TOLERANCE = 1e-4;

  private static final int STEPS = 3;

  @TempDir private static Path teacher;

  private final Backend backend = CpuBackend.open();
  private long liveBefore;

  @BeforeAll
  static void drawTeacher() {
    Recipe recipe = recipe(MethodName.EDM);
    try (Trainer trainer = wiring(recipe, CpuBackend.open()).fresh(null)) {
      trainer.run(batches(recipe, trainer), () -> false, event -> {});
      Parameters weights = trainer.roles().firstEntry().getValue().weights();
      UNet net = (UNet) trainer.roles().firstEntry().getValue().role().net();
      ModelFile.save(teacher, new Denoiser(net, 0.5), weights, Map.of());
    }
  }

  @BeforeEach
  void count() {
    liveBefore = backend.memory().liveBlocks();
  }

  @AfterEach
  void nothingLeaks() {
    assertThat(backend.memory().liveBlocks()).as("live tensors").isEqualTo(liveBefore);
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
                "edm.batch=4",
                "edm.optimizer.warmup=0",
                "edm.optimizer.eps=0.01",
                "classifier.optimizer.warmup=0",
                "classifier.optimizer.cooldown=0",
                "classifier.optimizer.eps=0.01",
                "dmd2.critic_steps=2",
                "dmd2.gan=0.01",
                "dmd2.critic_gan=0.03",
                "dmd2.embedding.weight=1",
                "dmd2.student.lr=3e-4",
                "dmd2.student.cooldown=0",
                "dmd2.critic.cooldown=0",
                "dmd2.student.warmup=0",
                "dmd2.student.eps=0.01",
                "dmd2.critic.warmup=0",
                "dmd2.critic.eps=0.01",
                "dmd2.critic.lr=0.01",
                "classifier.batch=8",
                "dmd2.batch=4",
                "dmd2.real_batch=8",
                "dmd2.embedding.width=8",
                "dmd2.embedding.depth=2"));
    all.addAll(List.of(sets));
    return RecipeReader.with(Recipe.DEFAULT, all);
  }

  private static Wiring wiring(Recipe recipe) {
    return wiring(recipe, CpuBackend.open());
  }

  private static Wiring wiring(Recipe recipe, Backend backend) {
    Dataset data =
        recipe.method() == MethodName.CLASSIFIER ? Datasets.get(recipe.data()) : TinyData.SET;
    return new Wiring(recipe, data, backend);
  }

  private static LongFunction<Batch> batches(Recipe recipe, Trainer trainer) {
    BatchSampler sampler = wiring(recipe).batches(trainer.method());
    return sampler::batch;
  }

  /// What a few steps of a recipe did.
  ///
  /// @param losses the last value of every log column
  /// @param before first weights by role
  /// @param after last weights by role
  private record Taken(
      SequencedMap<String, Double> losses,
      Map<String, float[]> before,
      Map<String, float[]> after,
      Set<String> trained) {}

  private static Taken take(Recipe recipe) {
    return take(recipe, CpuBackend.open());
  }

  private static Taken take(Recipe recipe, Backend backend) {
    try (Trainer trainer = wiring(recipe, backend).fresh(teacher)) {
      Map<String, float[]> before = weights(trainer);
      SequencedMap<String, Double> losses = new LinkedHashMap<>();
      trainer.run(
          batches(recipe, trainer),
          () -> false,
          event -> {
            if (event instanceof TrainEvent.StepDone done) {
              losses.putAll(done.values());
            }
          });
      Set<String> trained = new LinkedHashSet<>();
      trainer.method().phases().forEach(phase -> trained.addAll(phase.trains()));
      return new Taken(losses, before, weights(trainer), trained);
    }
  }

  private static Map<String, float[]> weights(Trainer trainer) {
    Map<String, float[]> weights = new HashMap<>();
    trainer.roles().forEach((name, role) -> weights.put(name, role.weights().values().floats()));
    return weights;
  }

  @ParameterizedTest
  @EnumSource
  void onlyDeclaredRolesChange(MethodName method) {
    Taken taken = take(recipe(method));

    assertThat(taken.trained()).isNotEmpty();
    taken
        .before()
        .forEach((role, before) ->
            assertThat(Arrays.equals(before, taken.after().get(role)))
                .as("%s unchanged", role)
                .isEqualTo(!taken.trained().contains(role)));
  }

  @ParameterizedTest
  @EnumSource
  void lossesAreTheStoredOnes(MethodName method) {
    assertStored(method, take(recipe(method)).losses());
  }

  @ParameterizedTest
  @EnumSource
  @Tag("device")
  void cudaTakesTheSameSteps(MethodName method) {
    Backend cuda = CudaUnderTest.open();
    long live = cuda.memory().liveBlocks();

    assertStored(method, take(recipe(method), cuda).losses());

    assertThat(cuda.memory().liveBlocks()).as("live tensors").isEqualTo(live);
  }

  private static void assertStored(MethodName method, SequencedMap<String, Double> losses) {
    assertThat(losses.keySet()).containsExactlyElementsOf(golden(method).sequencedKeySet());
    golden(method)
        .forEach((name, stored) ->
            assertThat(losses.get(name))
                .as("%s of %s", name, losses)
                .isCloseTo(stored, within(TOLERANCE * Math.abs(stored))));
  }

  /// Values after three steps, recorded from this implementation on a CPU with AVX-512.
  private static SequencedMap<String, Double> golden(MethodName method) {
    SequencedMap<String, Double> golden = new LinkedHashMap<>();
    switch (method) {
      case EDM -> {
        golden.put("denoise/denoising", 1.136008);
        golden.put("denoise/teacher_gradient_norm", 2.253824);
      }
      case CLASSIFIER -> {
        golden.put("classify/cross_entropy", 2.229820);
        golden.put("classify/classifier_gradient_norm", 1.193428);
      }
      case DMD2 -> {
        golden.put("student/distribution_matching", 3.311464);
        golden.put("student/gan", 0.8306013);
        golden.put("student/embedding", 4.171416);
        golden.put("student/student_gradient_norm", 0.4064986);
        golden.put("critic/denoising", 0.6830768);
        golden.put("critic/discriminator", 1.442933);
        golden.put("critic/critic_gradient_norm", 1.814841);
        golden.put("critic/head_gradient_norm", 0.06038236);
      }
    }
    return golden;
  }

  @Test
  void theEmbeddingLossAtWeightZeroIsNoEmbeddingLoss() {
    Taken without = take(recipe(MethodName.DMD2, "dmd2.embedding.weight=0"));
    Taken otherwise =
        take(
            recipe(
                MethodName.DMD2,
                "dmd2.embedding.weight=0",
                "dmd2.embedding.calibrated=false",
                "dmd2.embedding.networks=3",
                "dmd2.embedding.kernel=energy"));

    assertThat(without.losses()).doesNotContainKey("student/embedding");
    assertThat(otherwise.losses()).isEqualTo(without.losses());
    without
        .after()
        .forEach(
            (role, weights) -> assertThat(otherwise.after().get(role)).as(role).isEqualTo(weights));
  }

  @Test
  void theCriticDoesNotNeedTheEmbeddingLoss() {
    Taken with = take(recipe(MethodName.DMD2, "steps=1"));
    Taken without = take(recipe(MethodName.DMD2, "steps=1", "dmd2.embedding.weight=0"));

    assertThat(with.losses().get("student/distribution_matching"))
        .isEqualTo(without.losses().get("student/distribution_matching"));
    assertThat(with.losses().get("student/gan")).isEqualTo(without.losses().get("student/gan"));
  }

  /// Rounding every activation to 8 bits moves a loss by a few hundredths at most; not moving it
  /// would mean that the switch does nothing.
  @ParameterizedTest
  @EnumSource
  void bfloat16FollowsFloat32(MethodName method) {
    Taken exact = take(recipe(method, "steps=1"));
    Taken rounded = take(recipe(method, "steps=1", "precision=bfloat16"));

    assertThat(rounded.losses().keySet()).isEqualTo(exact.losses().keySet());
    assertThat(rounded.losses()).isNotEqualTo(exact.losses());
    exact
        .losses()
        .forEach((name, value) ->
            assertThat(rounded.losses().get(name))
                .as(name)
                .isCloseTo(value, within(0.05 * Math.abs(value) + 1e-3)));
  }

  /// A critic that equals the teacher gives no direction: the student's score-difference gradient
  /// is exactly zero.
  @Test
  void noScoreDifferenceWhenTheCriticIsTheTeacher() {
    Recipe recipe = recipe(MethodName.DMD2, "dmd2.gan=0", "dmd2.embedding.weight=0");
    try (Trainer trainer = wiring(recipe).fresh(teacher);
        Scope scope = new Scope(backend.memory())) {
      Map<String, Nets.Player> players = new HashMap<>();
      trainer
          .roles()
          .forEach((name, role) ->
              players.put(name, new Nets.Player(role.role().net(), role.weights())));
      Parameters student = players.get(Dmd2.STUDENT).parameters();
      student.zeroGradients();
      Tape tape = new Tape(backend, scope, Set.of(student));
      Method.Phase phase = trainer.method().phases().getFirst();
      Batch batch = batches(recipe, trainer).apply(0);

      Method.Terms terms =
          phase
              .loss()
              .compute(
                  new Nets(
                      tape,
                      players,
                      Map.of(),
                      new Preconditioning.Edm(0.5),
                      DType.F32,
                      new StepValues(scope)),
                  batch,
                  new Noise(5, 0, 0));
      tape.backward(terms.total());

      assertThat(terms.parts()).containsOnlyKeys("distribution_matching");
      assertThat(terms.total().item()).isZero();
      assertThat(student.gradients().floats()).containsOnly(0f);
    }
  }

  @Test
  void aTermSwitchedOffLeavesItsNetworksOut() {
    try (Trainer embedded =
            wiring(recipe(MethodName.DMD2, "dmd2.gan=0", "dmd2.distribution_matching=0"))
                .fresh(teacher);
        Trainer matched = wiring(recipe(MethodName.DMD2, "dmd2.gan=0")).fresh(teacher)) {
      assertThat(embedded.roles()).containsOnlyKeys(Dmd2.TEACHER, Dmd2.STUDENT);
      assertThat(matched.roles()).containsOnlyKeys(Dmd2.TEACHER, Dmd2.STUDENT, Dmd2.CRITIC);
    }
  }
}
