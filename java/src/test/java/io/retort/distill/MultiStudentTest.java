package io.retort.distill;

import static io.retort.distill.Stage.doubles;
import static io.retort.distill.Stage.norm;
import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodStepTest;
import io.retort.MethodSteps;
import io.retort.MethodSteps.Taken;
import io.retort.backend.CpuBackend;
import io.retort.checkpoint.ModelFile;
import io.retort.checkpoint.TrainingCheckpoint;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.ImageSampler;
import io.retort.distill.Stage.Outcome;
import io.retort.grad.Parameters;
import io.retort.grad.Var;
import io.retort.net.ClassExperts;
import io.retort.net.DiffusionNet;
import io.retort.op.Backend;
import io.retort.recipe.Recipe;
import io.retort.tensor.Scope;
import io.retort.train.RoleState;
import io.retort.train.Trainer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.SequencedMap;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Several students: each image comes from the student of its class and teaches it alone; one
/// student is DMD2's.
class MultiStudentTest implements MethodStepTest {
  private static final int BATCH = 6;

  @Override
  public MethodKind<?> kind() {
    return MultiStudent.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "batch=" + BATCH,
        "students=3",
        "student.warmup=0",
        "student.cooldown=0",
        "student.eps=0.01",
        "critic.warmup=0",
        "critic.cooldown=0",
        "critic.eps=0.01",
        "critic.lr=0.01");
  }

  @Override
  public SequencedMap<String, Double> golden() {
    return MethodStepTest.golden(
        entry("student/score_difference", 0.6482289),
        entry("student/student_gradient_norm", 0.157836),
        entry("critic/denoising", 0.5894511),
        entry("critic/critic_gradient_norm", 1.112389));
  }

  private static ClassExperts experts(Stage stage) {
    return (ClassExperts)
        stage.method().roles().stream()
            .filter(role -> role.name().equals(Method.STUDENT))
            .findFirst()
            .orElseThrow()
            .net();
  }

  /// Every step sends other images to other students.
  @Test
  @Tag("device")
  void graphsTakeTheSameSteps() {
    assertThat(MethodSteps.assertGraphsChangeNothing(recipe("msd.batch=3")))
        .anySatisfy(remark -> assertThat(remark).contains(" is captured, "));
  }

  /// The same images from plain networks, one image at a time.
  @Test
  void everyImageComesFromTheStudentOfItsClass() {
    try (Stage stage = new Stage(recipe()).perturbed(Method.STUDENT, 0.05)) {
      ClassExperts experts = experts(stage);
      int[] labels = {2, 0, 1, 0, 2, 1};
      float[] sigma = {1, 2, 3, 4, 5, 6};
      stage.with(nets -> {
        Var x = stage.noise(0).normal(nets.tape(), nets.images(Method.STUDENT, BATCH));
        double[] routed = doubles(nets.denoise(Method.STUDENT, x, sigma, labels));
        int pixels = routed.length / BATCH;
        try (Scope scope = new Scope(CpuBackend.open().memory())) {
          for (int i = 0; i < BATCH; i++) {
            Parameters own = experts.weights(scope, stage.weights(Method.STUDENT), labels[i]);
            double[] alone =
                doubles(
                    new Denoiser(experts.expert(), 0.5)
                        .denoise(
                            nets.tape(),
                            own,
                            x.slice(0, i, i + 1),
                            new float[] {sigma[i]},
                            new int[] {labels[i]},
                            null));
            for (int j = 0; j < pixels; j++) {
              assertThat(routed[i * pixels + j]).isCloseTo(alone[j], within(1e-5));
            }
          }
        }
        return null;
      });
    }
  }

  @Test
  void classesAreSharedOutEqually() {
    try (Stage stage = new Stage(recipe())) {
      assertThat(((MultiStudent) stage.method()).labels(stage.batch()))
          .containsExactly(0, 0, 1, 1, 2, 2);
    }
    assertThatThrownBy(() -> new Stage(recipe("msd.students=2")))
        .hasMessageContaining("students must be a divisor of the teacher's classes, got 2 of 3");
    assertThatThrownBy(() -> recipe("msd.batch=7"))
        .hasMessageContaining("batch must be a multiple of students, got 7 and 3");
  }

  @Test
  void aStudentLearnsFromItsOwnClassesAlone() {
    try (Stage stage =
        new Stage(recipe("msd.matching_steps=3"))
            .perturbed(Method.STUDENT, 0.05)
            .perturbed(Method.CRITIC, 0.05)) {
      float[] all = stage.phase(0).gradients().get(Method.STUDENT);
      int each = all.length / 3;
      int[] seen = new int[3];
      Arrays.stream(stage.batch().labels()).forEach(label -> seen[label]++);

      for (int part = 0; part < 3; part++) {
        float[] own = Arrays.copyOfRange(all, part * each, (part + 1) * each);
        assertThat(norm(own) > 0).as("student %d", part).isEqualTo(seen[part] > 0);
      }
      Map<String, float[]> gradients = stage.phase(1).gradients();
      for (int part = 0; part < 3; part++) {
        float[] own =
            Arrays.copyOfRange(gradients.get(Method.STUDENT), part * each, (part + 1) * each);
        assertThat(norm(own)).as("student %d of generated images", part).isPositive();
      }
    }
  }

  @Test
  void oneStudentIsDmd2() {
    Recipe dmd2 =
        MethodSteps.recipe(
            Dmd2.KIND,
            List.of("batch=" + BATCH, "real_batch=" + BATCH, "embedding.weight=0", "gan=0"));
    try (Stage one = new Stage(recipe("msd.students=1")).perturbed(Method.CRITIC, 0.05);
        Stage plain = new Stage(dmd2).perturbed(Method.CRITIC, 0.05)) {
      for (int phase = 0; phase < 2; phase++) {
        Outcome ours = one.phase(phase);
        Outcome theirs = plain.phase(phase);

        assertThat(ours.total()).isEqualTo(theirs.total());
        theirs
            .gradients()
            .forEach((role, wanted) -> assertThat(ours.gradients().get(role)).isEqualTo(wanted));
      }
    }
  }

  @Test
  void nothingMovesTheStudentsWhenTheirCriticsAreTheTeacher() {
    try (Stage own = new Stage(recipe());
        Stage shared = new Stage(recipe("msd.critics=shared"))) {
      for (Stage stage : List.of(own, shared)) {
        Outcome outcome = stage.phase(0);

        assertThat(norm(outcome.gradients().get(Method.STUDENT))).isLessThan(1e-5);
      }
      assertThat(shared.weights(Method.CRITIC).count())
          .isEqualTo(shared.weights(Method.TEACHER).count());
      assertThat(own.weights(Method.CRITIC).count())
          .isEqualTo(3 * own.weights(Method.TEACHER).count());
    }
  }

  /// `(1 / sigma^2 + 1 / sd^2) (D_student - D_teacher)^2`; the teacher itself has nothing to learn.
  @Test
  void matchingIsItsFormula() {
    String[] sets = {"msd.matching_steps=3"};
    try (Stage stage = new Stage(recipe(sets)).perturbed(Method.STUDENT, 0.05);
        Stage same = new Stage(recipe(sets))) {
      double expected =
          stage.with(nets -> {
            Noise noise = stage.noise(0);
            int[] labels = stage.batch().labels();
            float[] sigma = noise.logNormal(BATCH, -1.2, 1.2);
            Var noised = noise.add(nets.images(stage.batch(), BATCH), sigma);
            double[] wanted = doubles(nets.denoise(Method.TEACHER, noised, sigma, labels));
            double[] made = doubles(nets.denoise(Method.STUDENT, noised, sigma, labels));
            double sum = 0;
            for (int i = 0; i < made.length; i++) {
              double s = sigma[i / (made.length / BATCH)];
              sum += (1 / (s * s) + 4) * Math.pow(made[i] - wanted[i], 2) / made.length;
            }
            return sum;
          });

      assertThat(stage.phase(0).parts().get("denoising"))
          .isCloseTo(expected, within(1e-4 * expected));
      assertThat(same.phase(0).total()).isLessThan(1e-9);
    }
  }

  @Test
  void smallerStudentsMatchFirstAndThenFollow() {
    Taken taken = take("msd.channels=4", "msd.matching_steps=2");

    assertThat(taken.losses())
        .containsKeys("matching/denoising", "student/score_difference", "critic/denoising");
    assertThat(taken.after().get(Method.STUDENT).length)
        .isLessThan(3 * taken.after().get(Method.TEACHER).length / 2);
    Taken matching = take("msd.channels=4", "msd.matching_steps=3");
    assertThat(matching.losses().keySet())
        .containsExactly("matching/denoising", "matching/student_gradient_norm");
    assertThat(matching.after().get(Method.CRITIC)).isEqualTo(matching.before().get(Method.CRITIC));
  }

  /// A run of smaller students goes on without its teacher's file, and its model draws as the run
  /// does.
  @Test
  void runsAndModelsAreKept(@TempDir Path folder) {
    Recipe recipe = recipe("msd.channels=4", "msd.matching_steps=2");
    Backend cpu = CpuBackend.open();
    try (Trainer trainer = MethodSteps.trainer(recipe, cpu)) {
      trainer.run(MethodSteps.batches(recipe, trainer, cpu), () -> false, event -> {});
      Path checkpoint = TrainingCheckpoint.save(folder, trainer, 1);
      RoleState student = Objects.requireNonNull(trainer.roles().get(Method.STUDENT));
      Denoiser denoiser = new Denoiser((DiffusionNet) student.role().net(), 0.5);
      ModelFile.save(folder, denoiser, student.best(), Map.of());

      Path config = folder.resolve(ModelFile.CONFIG);
      try (Trainer again = MethodSteps.wiring(recipe, cpu).restored(checkpoint, config);
          ModelFile model = ModelFile.load(folder, cpu.memory())) {
        trainer
            .roles()
            .forEach((name, role) ->
                assertThat(
                        Objects.requireNonNull(again.roles().get(name)).weights().values().floats())
                    .as(name)
                    .isEqualTo(role.weights().values().floats()));
        ImageSampler ours = ImageSampler.of(cpu, denoiser, student.best(), 1);
        ImageSampler theirs = ImageSampler.of(cpu, model.denoiser(), model.parameters(), 1);
        int[] labels = {2, 0, 1, 1};
        float[] latents = ours.latents(1, 0, 4);
        assertThat(theirs.sample(latents, labels, done -> {}))
            .isEqualTo(ours.sample(latents, labels, done -> {}));
        assertThatThrownBy(() -> theirs.sample(latents, null, done -> {}))
            .hasMessageContaining("needs a class for every image");
        assertThatThrownBy(() -> theirs.sample(latents, new int[] {0, -1, 1, 2}, done -> {}))
            .hasMessageContaining("a label must be in [0, 3), got -1");
      }
    }
  }
}
