package io.retort.train;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.TinyData;
import io.retort.backend.CpuBackend;
import io.retort.backend.CpuMemory;
import io.retort.data.BatchSampler;
import io.retort.recipe.Recipe;
import io.retort.recipe.RecipeReader;
import io.retort.recipe.Wiring;
import io.retort.train.TrainEvent.StepDone;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/// A long run takes no more memory than a short one: after every size has been seen, a step hands
/// back what it took.
final class SteadyMemoryTest {
  private static final int SEEN = 60;
  private static final int STEPS = 180;

  @Test
  void stepsHandBackWhatTheyTake() {
    Recipe recipe =
        RecipeReader.with(
            Recipe.DEFAULT,
            List.of(
                "method=edm",
                "steps=" + STEPS,
                "network.channels=8",
                "network.multipliers=[1, 1]",
                "network.attention=[4]",
                "network.dropout=0.1",
                "edm.batch=4"));
    CpuMemory memory = CpuBackend.open().memory();
    Wiring wiring = new Wiring(recipe, TinyData.SET, CpuBackend.open());
    List<Long> live = new ArrayList<>();
    List<Long> held = new ArrayList<>();
    long blocks = memory.liveBlocks();
    try (Trainer trainer = wiring.fresh(null)) {
      BatchSampler sampler = wiring.batches(trainer.method());
      trainer.run(
          sampler::batch,
          () -> false,
          event -> {
            if (event instanceof StepDone) {
              live.add(memory.liveBlocks());
              held.add(memory.liveBytes() + memory.waitingBytes());
            }
          });
    }
    assertThat(live.subList(0, STEPS)).containsOnly(live.getFirst());
    assertThat(held.subList(SEEN, STEPS)).containsOnly(held.get(SEEN));
    assertThat(memory.liveBlocks()).isEqualTo(blocks);
  }
}
