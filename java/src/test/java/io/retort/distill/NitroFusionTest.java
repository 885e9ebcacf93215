package io.retort.distill;

import static io.retort.distill.Stage.doubles;
import static io.retort.distill.Stage.norm;
import static io.retort.distill.Stage.unit;
import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodStepTest;
import io.retort.MethodSteps;
import io.retort.MethodSteps.Taken;
import io.retort.backend.CpuBackend;
import io.retort.distill.Method.Redraw;
import io.retort.grad.Parameter;
import io.retort.grad.Var;
import io.retort.net.FeatureHeads;
import io.retort.op.Backend;
import io.retort.recipe.Recipe;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.train.RoleState;
import io.retort.train.Trainer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// NitroFusion: losses against float64 ones computed from the logits, its gradient against finite
/// differences, who looks and who begins anew.
class NitroFusionTest implements MethodStepTest {
  private static final int BATCH = 4;

  @Override
  public MethodKind<?> kind() {
    return NitroFusion.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "batch=" + BATCH,
        "warmup=0",
        "pairs=10",
        "pair_steps=2",
        "pool=2",
        "refresh=0.1",
        "gan.form=non_saturating",
        "gan.width=8",
        "gan.penalty=0.5",
        "gan.delta=1",
        "gan.penalty_every=2",
        "gan.optimizer.warmup=0",
        "gan.optimizer.cooldown=0",
        "gan.optimizer.eps=0.01",
        "student.warmup=0",
        "student.cooldown=0",
        "student.eps=0.01");
  }

  @Override
  public SequencedMap<String, Double> golden() {
    return MethodStepTest.golden(
        entry("student/gan", 0.6911023),
        entry("student/student_gradient_norm", 0.002451449),
        entry("pool/discriminator", 1.455327),
        entry("pool/penalty", 4.503492e-05),
        entry("pool/pool_gradient_norm", 1.495924));
  }

  private static Var images(Stage stage, Nets nets, Noise noise) {
    float[] top = new float[BATCH];
    Arrays.fill(top, 80);
    Var z = noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 80);
    return nets.denoise(Method.STUDENT, z, top, labels(stage));
  }

  private static int[] labels(Stage stage) {
    return stage.batch().pairs().labels();
  }

  private static List<double[]> logits(
      Stage stage, Nets nets, NitroFusion.Draw draw, Var x, PhiloxKey key) {
    Var noised = Noise.add(x, draw.sigma(), key);
    return nets
        .discriminate(
            NitroFusion.POOL, draw.heads(), Method.TEACHER, noised, draw.sigma(), labels(stage))
        .stream()
        .map(Stage::doubles)
        .toList();
  }

  private static double softplus(List<double[]> heads, double sign) {
    return heads.stream()
        .mapToDouble(head ->
            Arrays.stream(head).map(l -> Math.log1p(Math.exp(sign * l))).average().orElseThrow())
        .average()
        .orElseThrow();
  }

  private static double deception(Stage stage) {
    return stage.with(nets -> {
      Noise noise = stage.noise(1);
      Var x = images(stage, nets, noise);
      NitroFusion.Draw draw = ((NitroFusion) stage.method()).draw(nets, noise);
      return softplus(logits(stage, nets, draw, x, noise.key(Purpose.NOISE)), -1);
    });
  }

  /// Heads are drawn, and some begin anew, at every step: three of them never launch the same
  /// twice.
  @Test
  @Tag("device")
  void graphsTakeTheSameSteps() {
    MethodSteps.assertGraphsChangeNothing(recipe("nitrofusion.batch=1"));
  }

  @Test
  void theStudentsLossIsTheFormulas() {
    try (Stage stage = new Stage(recipe())) {
      double expected = deception(stage);

      assertThat(stage.phase(1).parts().get("gan")).isCloseTo(expected, within(1e-5 * expected));
    }
  }

  @Test
  void theStudentFollowsTheHeads() {
    try (Stage stage = new Stage(recipe())) {
      float[] gradient = stage.phase(1).gradients().get(Method.STUDENT);

      double slope = stage.slope(Method.STUDENT, unit(gradient), 1e-3, () -> deception(stage));

      assertThat(slope).isCloseTo(norm(gradient), within(0.02 * norm(gradient)));
    }
  }

  @Test
  void theWarmupRegressesOnTheTeachersSamples() {
    try (Stage stage = new Stage(recipe())) {
      double expected =
          stage.with(nets -> {
            float[] latents = stage.batch().pairs().latents();
            float[] images = stage.batch().pairs().images();
            float[] top = new float[BATCH];
            Arrays.fill(top, 80);
            Var z = nets.tape().constant(nets.images(Method.STUDENT, BATCH), latents).scale(80);
            double[] made = doubles(nets.denoise(Method.STUDENT, z, top, labels(stage)));
            double sum = 0;
            for (int i = 0; i < made.length; i++) {
              sum += Math.pow(made[i] - images[i], 2) / made.length;
            }
            return sum;
          });

      assertThat(stage.phase(0).parts().get("regression"))
          .isCloseTo(expected, within(1e-5 * expected));
    }
    assertThat(take("nitrofusion.warmup=2").losses())
        .containsKeys("warmup/regression", "student/gan", "pool/discriminator");
  }

  @Test
  void whoLooksChangesFromStepToStepAndIsAgreedWithinOne() {
    try (Stage stage = new Stage(recipe())) {
      NitroFusion method = (NitroFusion) stage.method();
      Set<List<Integer>> seen = new HashSet<>();
      for (int step = 0; step < 20; step++) {
        int at = step;
        List<Integer> student = drawn(stage, method, new Noise(5, at, 1));
        List<Integer> pool = drawn(stage, method, new Noise(5, at, 2));
        assertThat(student).isEqualTo(pool);
        seen.add(student);
      }
      assertThat(seen).hasSizeGreaterThan(6);
    }
  }

  private static List<Integer> drawn(Stage stage, NitroFusion method, Noise noise) {
    return stage.with(nets -> Arrays.stream(method.draw(nets, noise).heads()).boxed().toList());
  }

  /// Without refresh a head moves only when it looked.
  @Test
  void headsThatRestStayAsTheyAre() {
    Set<String> looked = new HashSet<>();
    try (Stage stage = new Stage(recipe())) {
      NitroFusion method = (NitroFusion) stage.method();
      for (int step = 0; step < 3; step++) {
        List<Integer> heads = drawn(stage, method, new Noise(5, step, 0));
        for (int map = 0; map < heads.size(); map++) {
          looked.add(FeatureHeads.prefix(map, heads.get(map)));
        }
      }
      Taken taken = take("nitrofusion.refresh=0");
      Set<String> moved = moved(stage, taken);
      assertThat(moved).isEqualTo(looked);
      assertThat(moved(stage, take())).isNotEqualTo(looked).containsAll(looked);
    }
  }

  private static Set<String> moved(Stage stage, Taken taken) {
    float[] before = taken.before().get(NitroFusion.POOL);
    float[] after = taken.after().get(NitroFusion.POOL);
    Set<String> moved = new HashSet<>();
    for (Parameter weight : stage.weights(NitroFusion.POOL).all()) {
      int from = Math.toIntExact(weight.offset());
      int to = from + Math.toIntExact(weight.shape().elements());
      if (!Arrays.equals(before, from, to, after, from, to)) {
        moved.add(FeatureHeads.prefix(weight.name()));
      }
    }
    return moved;
  }

  @Test
  void headsBeginAnewAtTheirRate() {
    try (Stage stage = new Stage(recipe("nitrofusion.refresh=0.05"))) {
      Set<String> names = new HashSet<>();
      stage.weights(NitroFusion.POOL).all().forEach(w -> names.add(FeatureHeads.prefix(w.name())));
      assertThat(names).hasSize(2 * 4 * 2);
      int anew = 0;
      for (int step = 0; step < 500; step++) {
        for (Method.Redraw redraw : stage.method().redraws(new Noise(5, step, 101))) {
          anew += (int) names.stream().filter(n -> redraw.names().test(n + "conv0.weight")).count();
        }
      }
      assertThat(anew).isBetween(320, 480);
    }
  }

  /// Heads that looked and begin anew: their weights are drawn again, their moments forgotten.
  @Test
  void whatBeginsAnewForgets() {
    assertThat(momentsOfWhoLooked("nitrofusion.refresh=0")).doesNotContain(0f);
    assertThat(momentsOfWhoLooked("nitrofusion.refresh=0.5")).contains(0f);
  }

  private List<Float> momentsOfWhoLooked(String refresh) {
    Recipe recipe = recipe(refresh, "steps=1");
    Backend cpu = CpuBackend.open();
    try (Trainer trainer = MethodSteps.trainer(recipe, cpu);
        Stage stage = new Stage(recipe)) {
      trainer.run(MethodSteps.batches(recipe, trainer, cpu), () -> false, event -> {});
      List<Redraw> redraws = trainer.method().redraws(new Noise(5, 0, 101));
      RoleState pool = trainer.roles().get(NitroFusion.POOL);
      float[] moments = pool.adam().second().floats();
      List<Float> seen = new ArrayList<>();
      List<Integer> heads = drawn(stage, (NitroFusion) stage.method(), new Noise(5, 0, 0));
      for (int map = 0; map < heads.size(); map++) {
        String name = FeatureHeads.prefix(map, heads.get(map)) + "logit.weight";
        float moment = moments[Math.toIntExact(pool.weights().get(name).offset())];
        boolean anew = redraws.stream().anyMatch(redraw -> redraw.names().test(name));
        assertThat(moment == 0).as(name).isEqualTo(anew);
        seen.add(moment);
      }
      float[] before = pool.weights().values().floats();
      for (Redraw redraw : redraws) {
        pool.role().net().plan().redraw(pool.weights(), redraw.names(), redraw.key());
      }
      assertThat(pool.weights().values().floats()).isEqualTo(before);
      return seen;
    }
  }

  @Test
  void levelsJoinOneAfterAnother() {
    NitroFusion.Settings settings =
        (NitroFusion.Settings)
            recipe("nitrofusion.steps=4", "nitrofusion.warmup=10", "nitrofusion.rise=5").settings();

    assertThat(settings.levels(0)).containsExactly(80.0);
    assertThat(settings.levels(14)).hasSize(1);
    assertThat(settings.levels(15)).hasSize(2);
    assertThat(settings.levels(1000)).isEqualTo(settings.levels()).hasSize(4);
  }

  @Test
  void headsHaveNoMomentum() {
    assertThatThrownBy(() -> recipe("nitrofusion.gan.optimizer.beta1=0.5"))
        .hasMessageContaining("gan.optimizer.beta1 and decay must be 0");
  }
}
