package io.retort.distill;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodSteps;
import io.retort.grad.Var;
import io.retort.recipe.Recipe;
import io.retort.tensor.PhiloxKey.Purpose;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

/// Images of a student: in one step, and of a step of several with what sampling gives it.
class GeneratorTest {
  private static final int BATCH = 4;
  private static final Recipe RECIPE =
      MethodSteps.recipe(Dmd2.KIND, List.of("batch=" + BATCH, "real_batch=" + BATCH));

  private static float[] images(Stage stage, Generator generator, long step) {
    return stage.with(nets ->
        generator
            .images(
                nets,
                stage.batch().labels(BATCH),
                nets.images(stage.batch(), BATCH),
                new Noise(9, step, 0))
            .value()
            .floats());
  }

  @Test
  void levelsAreEvenlySpacedInBins() {
    assertThat(Generator.levels(80, 1)).containsExactly(80.0);
    assertThat(Generator.levels(80, 4)).first().isEqualTo(80.0);
    assertThat(Generator.levels(80, 4).get(2)).isCloseTo(2.515, within(1e-3));
    assertThat(Generator.levels(2.5, 1)).containsExactly(2.5);
  }

  /// Which level a step trains is drawn for the whole batch; all of them have their turn.
  @Test
  void theInputOfALaterStepIsWhatSamplingGivesIt() {
    List<Double> levels = List.of(80.0, 2.5);
    try (Stage stage = new Stage(RECIPE)) {
      Set<Boolean> seen = new HashSet<>();
      for (long step = 0; step < 12; step++) {
        float[] images = images(stage, new Generator(levels, true), step);
        boolean first = matches(stage, step, images, false);
        assertThat(first || matches(stage, step, images, true)).as("step %d", step).isTrue();
        seen.add(first);
      }
      assertThat(seen).hasSize(2);
    }
  }

  /// Whether images are those of one call from noise, or those of a second call on the first one's
  /// with fresh noise.
  private static boolean matches(Stage stage, long step, float[] images, boolean later) {
    float[] expected =
        stage.with(nets -> {
          Noise noise = new Noise(9, step, 0);
          noise.key(Purpose.TIME);
          int[] labels = stage.batch().labels(BATCH);
          Var z = noise.normal(nets.tape(), nets.images(Method.STUDENT, BATCH), 80);
          Var x = nets.denoise(Method.STUDENT, z, new float[] {80, 80, 80, 80}, labels);
          if (later) {
            float[] level = {2.5f, 2.5f, 2.5f, 2.5f};
            x = nets.denoise(Method.STUDENT, noise.add(x, level), level, labels);
          }
          return x.value().floats();
        });
    return Arrays.equals(expected, images);
  }

  @Test
  void withoutSimulationLaterStepsStartFromRealImages() {
    List<Double> levels = List.of(80.0, 2.5);
    try (Stage stage = new Stage(RECIPE)) {
      boolean differed = false;
      for (long step = 0; step < 12; step++) {
        float[] simulated = images(stage, new Generator(levels, true), step);
        float[] real = images(stage, new Generator(levels, false), step);
        differed |= !Arrays.equals(simulated, real);
      }
      assertThat(differed).isTrue();
    }
  }
}
