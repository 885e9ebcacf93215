package io.retort;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.retort.MethodSteps.Taken;
import io.retort.backend.CpuBackend;
import io.retort.checkpoint.TrainingCheckpoint;
import io.retort.data.Batch;
import io.retort.distill.MethodKind;
import io.retort.op.Backend;
import io.retort.recipe.Recipe;
import io.retort.train.Trainer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongFunction;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// What every method must keep, checked by the test of each: a few steps give the stored losses, on
/// CUDA's emulator too; they change what the method declares and nothing else; resuming equals
/// never having stopped; nothing leaks.
public interface MethodStepTest {
  /// Relative: kernels may sum in another order on another processor.
  default double tolerance() {
    return 1e-4;
  }

  MethodKind<?> kind();

  /// The method's numbers for 8x8 images, as `key=value`.
  List<String> settings();

  /// Values after three steps by log column, recorded from this implementation on a CPU with
  /// AVX-512.
  SequencedMap<String, Double> golden();

  /// The numbers of a golden record in its order.
  static SequencedMap<String, Double> golden(Map.Entry<?, ?>... columns) {
    SequencedMap<String, Double> golden = new LinkedHashMap<>();
    for (Map.Entry<?, ?> column : columns) {
      golden.put((String) column.getKey(), (Double) column.getValue());
    }
    return golden;
  }

  default Recipe recipe(String... sets) {
    return MethodSteps.recipe(kind(), settings(), sets);
  }

  /// A few steps on the CPU that leave no tensor behind.
  default Taken take(String... sets) {
    Backend cpu = CpuBackend.open();
    long live = cpu.memory().liveBlocks();
    Taken taken = MethodSteps.take(recipe(sets), cpu);
    assertThat(cpu.memory().liveBlocks()).as("live tensors").isEqualTo(live);
    return taken;
  }

  @Test
  default void onlyDeclaredRolesChange() {
    Taken taken = take();

    assertThat(taken.moved()).isNotEmpty();
    taken
        .before()
        .forEach((role, before) ->
            assertThat(Arrays.equals(before, taken.after().get(role)))
                .as("%s unchanged", role)
                .isEqualTo(!taken.moved().contains(role)));
  }

  @Test
  default void lossesAreTheStoredOnes() {
    assertClose(take().losses(), golden());
  }

  /// Steps on the emulator, which takes its time.
  default int stepsOnCuda() {
    return 1;
  }

  @Test
  @Tag("device")
  default void cudaTakesTheSameSteps() {
    String steps = "steps=" + stepsOnCuda();
    Backend cuda = CudaUnderTest.open();
    long live = cuda.memory().liveBlocks();

    SequencedMap<String, Double> onCpu = take(steps).losses();
    assertClose(MethodSteps.take(recipe(steps), cuda).losses(), onCpu);

    assertThat(cuda.memory().liveBlocks()).as("live tensors").isEqualTo(live);
  }

  private void assertClose(
      SequencedMap<String, Double> losses, SequencedMap<String, Double> wanted) {
    assertThat(losses.keySet()).as("%s", losses).containsExactlyElementsOf(wanted.keySet());
    wanted.forEach((name, stored) ->
        assertThat(losses.get(name))
            .as("%s of %s", name, losses)
            .isCloseTo(stored, within(tolerance() * Math.abs(stored) + 1e-7)));
  }

  /// Rounding every activation to 8 bits moves a loss by a few hundredths at most; not moving it
  /// would mean that the switch does nothing.
  @Test
  default void bfloat16FollowsFloat32() {
    Taken exact = take("steps=1");
    Taken rounded = take("steps=1", "precision=bfloat16");

    assertThat(rounded.losses().keySet()).isEqualTo(exact.losses().keySet());
    assertThat(rounded.losses()).isNotEqualTo(exact.losses());
    exact
        .losses()
        .forEach((name, value) ->
            assertThat(rounded.losses().get(name))
                .as(name)
                .isCloseTo(value, within(0.05 * Math.abs(value) + bfloat16Slack())));
  }

  /// What bfloat16 may move a loss by that is almost zero.
  default double bfloat16Slack() {
    return 1e-3;
  }

  @Test
  default void resumingEqualsNeverHavingStopped(@TempDir Path folder) {
    Recipe recipe = recipe();
    Backend cpu = CpuBackend.open();
    try (Trainer whole = MethodSteps.trainer(recipe, cpu);
        Trainer first = MethodSteps.trainer(recipe, cpu);
        Trainer second = MethodSteps.trainer(recipe, cpu)) {
      LongFunction<Batch> batches = MethodSteps.batches(recipe, whole, cpu);
      whole.run(batches, () -> false, event -> {});
      AtomicInteger asked = new AtomicInteger();
      first.run(batches, () -> asked.incrementAndGet() > 2, event -> {});
      TrainingCheckpoint.load(TrainingCheckpoint.save(folder, first, 1), second);
      assertThat(second.step()).isEqualTo(2);
      second.run(batches, () -> false, event -> {});

      MethodSteps.weights(whole)
          .forEach((role, weights) ->
              assertThat(MethodSteps.weights(second).get(role)).as(role).isEqualTo(weights));
    }
  }
}
