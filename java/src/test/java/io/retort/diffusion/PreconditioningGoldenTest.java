package io.retort.diffusion;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.retort.Golden;
import java.util.function.DoubleUnaryOperator;
import org.junit.jupiter.api.Test;

/// Noise maps of the four families against the reference implementation, and their identities.
final class PreconditioningGoldenTest {
  private final Golden golden = Golden.open("precond");
  private final double[] sigmas = golden.doubles("sigma");

  @Test
  void noiseMapsMatch() {
    assertMap("edm/c_noise", sigmas, new Preconditioning.Edm(0.5)::noise);
    assertMap("ve/c_noise", sigmas, new Preconditioning.Ve()::noise);
    assertMap("vp/c_noise", sigmas, Preconditioning.Vp.DEFAULT::noise);
    assertMap("vp/sigma_inv", sigmas, Preconditioning.Vp.DEFAULT::time);
    assertMap("vp/sigma_of_t", golden.doubles("vp/t"), Preconditioning.Vp.DEFAULT::sigma);
  }

  private void assertMap(String name, double[] inputs, DoubleUnaryOperator map) {
    double[] expected = golden.doubles(name);
    for (int i = 0; i < inputs.length; i++) {
      // expm1 and log1p are the more exact form of the reference's exp - 1, which loses digits at
      // small sigma
      double tolerance = 1e-12 * Math.max(1, Math.abs(expected[i])) + 1e-9 * (i == 0 ? 1 : 0);
      assertThat(map.applyAsDouble(inputs[i]))
          .as("%s[%d]", name, i)
          .isCloseTo(expected[i], within(tolerance));
    }
  }

  @Test
  void iddpmLevelsMatch() {
    float[] expected = golden.floats("iddpm/u");
    double[] levels = Preconditioning.Iddpm.DEFAULT.levels();
    for (int j = 0; j < expected.length; j++) {
      // float32 recursion over 1000 steps: the sine's last bit differs between libraries
      assertThat(levels[j]).isCloseTo(expected[j], within(1e-4 * expected[j]));
    }
    long[] index = golden.longs("iddpm/round_index");
    for (int i = 0; i < sigmas.length; i++) {
      assertThat(Preconditioning.Iddpm.DEFAULT.index(sigmas[i])).isEqualTo((int) index[i]);
      double rounded = golden.doubles("iddpm/round_sigma")[i];
      assertThat(Preconditioning.Iddpm.DEFAULT.round(sigmas[i]))
          .isCloseTo(rounded, within(1e-4 * rounded));
    }
  }

  @Test
  void edmKeepsUnitVariance() {
    Preconditioning.Edm edm = new Preconditioning.Edm(0.5);
    for (double sigma : sigmas) {
      double in = edm.in(sigma);
      assertThat(in * in * (sigma * sigma + 0.25)).isCloseTo(1, within(1e-12));
      // effective target has unit variance: ((1 - skip)^2 sd^2 + skip^2 sigma^2) / out^2 = 1
      double skip = edm.skip(sigma);
      double variance = Math.pow((1 - skip) * 0.5, 2) + Math.pow(skip * sigma, 2);
      assertThat(variance / Math.pow(edm.out(sigma), 2)).isCloseTo(1, within(1e-9));
    }
  }
}
