package io.retort.distill;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.diffusion.KarrasSigmas;
import io.retort.diffusion.Preconditioning;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;

/// The levels a method asks networks for are levels they know.
final class NoiseLevelsTest {
  private static final int COUNT = 4000;
  private static final int BINS = 1000;

  private static float[] drawn(Preconditioning network) {
    return new Noise(3, 0, 0).bins(KarrasSigmas.EDM, network, COUNT, BINS, 0, 1);
  }

  @Test
  void ofEdmsNetworksTheyAreTheCurves() {
    assertThat(drawn(new Preconditioning.Edm(0.5)))
        .isEqualTo(new Noise(3, 0, 0).bins(KarrasSigmas.EDM, COUNT, BINS, 0, 1));
  }

  @Test
  void ofVarianceExplodingNetworksNoneIsBelowTheSmallest() {
    float[] levels = drawn(new Preconditioning.Ve());
    for (float level : levels) {
      assertThat(level).isBetween(0.02f * (1 - 1e-6f), 80.001f);
    }
    assertThat(levels).hasSize(COUNT);
  }

  @Test
  void ofDiscreteNetworksTheyAreTheirLevelsAboveNone() {
    Set<Float> known = new HashSet<>();
    for (double level : Preconditioning.Iddpm.DEFAULT.levels()) {
      known.add((float) level);
    }
    for (float level : drawn(Preconditioning.Iddpm.DEFAULT)) {
      assertThat(level).isPositive();
      assertThat(known).contains(level);
    }
  }
}
