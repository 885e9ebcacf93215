package io.retort.distill;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.backend.CpuBackend;
import io.retort.diffusion.KarrasSigmas;
import io.retort.diffusion.Preconditioning;
import io.retort.grad.Tape;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import java.util.HashSet;
import java.util.Map;
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

  @Test
  void placesAreThoseOfTheNetworkToo() {
    Noise[] same = {new Noise(3, 0, 0), new Noise(3, 0, 0)};
    assertThat(same[0].places(KarrasSigmas.EDM, new Preconditioning.Edm(0.5), COUNT, 0.2))
        .isEqualTo(same[1].places(KarrasSigmas.EDM, COUNT, 0.2));
    for (float level : same[0].places(KarrasSigmas.EDM, Preconditioning.Iddpm.DEFAULT, COUNT, 0)) {
      assertThat((double) level).isEqualTo((float) Preconditioning.Iddpm.DEFAULT.round(level));
      assertThat(level).isPositive();
    }
  }

  @Test
  void aStudentStartsWhereItsSamplerWill() {
    Preconditioning discrete = Preconditioning.Iddpm.DEFAULT;
    Generator oneStep = Generator.oneStep(80);
    assertThat(oneStep.start(new Preconditioning.Edm(0.5))).isEqualTo(80);
    assertThat(oneStep.start(discrete)).isEqualTo(discrete.round(80)).isNotEqualTo(80);
    assertThat(oneStep.start(new Preconditioning.Ve(0.02, 50))).isEqualTo(50);
  }

  /// What every method with a critic asks for, by the networks it was given.
  @Test
  void scoreMatchingAsksTheNetworks() {
    Preconditioning discrete = Preconditioning.Iddpm.DEFAULT;
    try (Scope scope = new Scope(CpuBackend.open().memory())) {
      Nets nets =
          new Nets(
              Tape.inference(CpuBackend.open(), scope),
              Map.of(),
              Map.of(),
              discrete,
              DType.F32,
              new StepValues(scope));
      assertThat(ScoreMatching.bins(nets, COUNT, new Noise(3, 0, 0))).isEqualTo(drawn(discrete));
      assertThat(ScoreMatching.middleBins(nets, COUNT, new Noise(3, 0, 0)))
          .isEqualTo(new Noise(3, 0, 0).bins(KarrasSigmas.EDM, discrete, COUNT, BINS, 0.02, 0.98));
    }
  }
}
