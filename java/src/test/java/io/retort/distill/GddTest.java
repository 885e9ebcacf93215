package io.retort.distill;

import static io.retort.distill.Stage.doubles;
import static io.retort.distill.Stage.norm;
import static io.retort.distill.Stage.unit;
import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodStepTest;
import io.retort.grad.Parameter;
import io.retort.grad.Var;
import io.retort.recipe.RecipeException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;

/// GDD: losses against float64 ones computed from the logits, gradients against finite differences,
/// fixed weights.
class GddTest implements MethodStepTest {
  private static final int BATCH = 4;

  @Override
  public MethodKind<?> kind() {
    return Gdd.KIND;
  }

  @Override
  public List<String> settings() {
    return List.of(
        "batch=" + BATCH,
        "width=8",
        "depth=3",
        "penalty_every=2",
        "student.warmup=0",
        "student.cooldown=0",
        "student.eps=0.01",
        "discriminator.warmup=0",
        "discriminator.cooldown=0",
        "discriminator.eps=0.01");
  }

  @Override
  public SequencedMap<String, Double> golden() {
    return MethodStepTest.golden(
        entry("student/gan", 2.170456),
        entry("student/student_gradient_norm", 0.487354),
        entry("discriminator/discriminator", 4.305529),
        entry("discriminator/penalty", 0.002066285),
        entry("discriminator/discriminator_gradient_norm", 2.561711));
  }

  private static Var images(Stage stage, Nets nets) {
    float[] top = new float[BATCH];
    Arrays.fill(top, 80);
    Noise noise = stage.noise(0);
    Var latents = noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 80);
    return nets.denoise(Method.STUDENT, latents, top, stage.batch().labels(BATCH));
  }

  private static List<double[]> logits(Stage stage, Nets nets, Var x) {
    Gdd gdd = (Gdd) stage.method();
    return gdd
        .critic()
        .apply(
            nets.tape(),
            nets.parameters(Gdd.DISCRIMINATOR),
            x,
            nets.oneHot(stage.batch().labels(BATCH), 3))
        .stream()
        .map(Stage::doubles)
        .toList();
  }

  private static double softplus(double[] logits, double sign) {
    return Arrays.stream(logits).map(l -> Math.log1p(Math.exp(sign * l))).sum() / logits.length;
  }

  private static double deception(Stage stage) {
    return stage.with(nets -> {
      List<double[]> heads = logits(stage, nets, images(stage, nets));
      assertThat(heads).hasSize(3);
      return heads.stream().mapToDouble(head -> softplus(head, -1)).sum();
    });
  }

  @Test
  void theStudentsLossIsTheFormulas() {
    try (Stage stage = new Stage(recipe())) {
      double expected = deception(stage);

      assertThat(stage.phase(0).parts().get("gan")).isCloseTo(expected, within(1e-5 * expected));
    }
  }

  @Test
  void theStudentFollowsTheDiscriminator() {
    try (Stage stage = new Stage(recipe())) {
      float[] gradient = stage.phase(0).gradients().get(Method.STUDENT);

      double slope = stage.slope(Method.STUDENT, unit(gradient), 1e-3, () -> deception(stage));

      assertThat(slope).isCloseTo(norm(gradient), within(0.02 * norm(gradient)));
    }
  }

  @Test
  void theDiscriminatorKnowsTheClass() {
    try (Stage stage = new Stage(recipe())) {
      stage.with(nets -> {
        Gdd gdd = (Gdd) stage.method();
        Var x = nets.images(stage.batch(), BATCH);
        List<Var> one =
            gdd.critic()
                .apply(
                    nets.tape(),
                    nets.parameters(Gdd.DISCRIMINATOR),
                    x,
                    nets.oneHot(new int[] {0, 0, 0, 0}, 3));
        List<Var> other =
            gdd.critic()
                .apply(
                    nets.tape(),
                    nets.parameters(Gdd.DISCRIMINATOR),
                    x,
                    nets.oneHot(new int[] {1, 1, 1, 1}, 3));
        assertThat(doubles(one.getFirst())).isEqualTo(doubles(other.getFirst()));
        assertThat(doubles(one.getLast())).isNotEqualTo(doubles(other.getLast()));
        return null;
      });
    }
  }

  @Test
  void theConvolutionsOfGddIStayAsTheyAre() {
    List<String> kept = new ArrayList<>();
    List<String> moved = new ArrayList<>();
    try (Stage stage = new Stage(recipe("gdd.fixed=convolutions"))) {
      stage.phase(0);
      for (Parameter weight : stage.weights(Method.STUDENT).all()) {
        boolean untouched = true;
        for (float g : weight.gradient().floats()) {
          untouched &= g == 0;
        }
        (untouched ? kept : moved).add(weight.name());
      }
    }
    assertThat(kept)
        .contains("model.enc.8x8_block0.conv0.weight", "model.dec.8x8_block0.conv1.bias");
    assertThat(moved)
        .contains(
            "model.enc.8x8_conv.weight",
            "model.dec.8x8_aux_conv.weight",
            "model.enc.8x8_block0.norm0.weight",
            "model.map_layer0.weight");
    assertThat(take("gdd.fixed=convolutions").losses()).isNotEqualTo(take().losses());
    assertThatThrownBy(() -> take("gdd.fixed=convolutions", "gdd.student.decay=0.1"))
        .isInstanceOf(RecipeException.class)
        .hasMessageContaining("student.decay must be 0");
  }

  @Test
  void aStartFromNothingIsNotTheTeacher() {
    var taken = take("gdd.start=random");

    assertThat(taken.before().get(Method.STUDENT)).isNotEqualTo(taken.before().get(Method.TEACHER));
  }
}
