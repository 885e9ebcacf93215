package io.retort.diffusion;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.backend.CpuBackend;
import io.retort.grad.Parameters;
import io.retort.net.SongUNet;
import io.retort.op.Backend;
import java.util.List;
import org.junit.jupiter.api.Test;

/// Students of several steps: an image is a function of its latents and its place, whatever it is
/// drawn with.
class ImageSamplerTest {
  private static final List<Double> LEVELS = List.of(80.0, 2.5, 0.2);

  private final Backend backend = CpuBackend.open();
  private final Denoiser denoiser =
      new Denoiser(
          new SongUNet(new SongUNet.Config(8, 1, 0, 8, List.of(1, 1), 1, List.of(4), 0, 0)), 0.5);

  private float[] sample(Parameters weights, List<Double> levels, float[] latents, int batch) {
    return new ImageSampler(backend, denoiser, weights, LcmSampler.of(levels), 1, 5, batch)
        .sample(latents, null, done -> {});
  }

  @Test
  void anImageDoesNotDependOnItsNeighbours() {
    try (Parameters weights = denoiser.network().plan().initialise(backend.memory(), 3)) {
      ImageSampler sampler = ImageSampler.of(backend, denoiser, weights, LcmSampler.of(LEVELS));
      float[] latents = sampler.latents(7, 0, 5);
      float[] together = sample(weights, LEVELS, latents, 128);
      float[] inPairs = sample(weights, LEVELS, latents, 2);

      assertThat(sampler.evaluations()).isEqualTo(3);
      for (int i = 0; i < together.length; i++) {
        assertThat(inPairs[i]).isCloseTo(together[i], within(1e-5f));
      }
      assertThat(sample(weights, List.of(80.0), latents, 128)).isNotEqualTo(together);
    }
  }

  /// With `D(x; sigma) = c_skip x` of an untrained network the variance of the result is known.
  @Test
  void everyLaterLevelAddsItsOwnNoise() {
    try (Parameters weights = denoiser.network().plan().allocate(backend.memory())) {
      List<Double> levels = List.of(80.0, 2.0);
      float[] latents = ImageSampler.of(backend, denoiser, weights, 1).latents(1, 0, 100);
      double squares = 0;
      for (float value : sample(weights, levels, latents, 100)) {
        squares += (double) value * value / latents.length;
      }
      double first = 0.25 / (80 * 80 + 0.25) * 80;
      double skip = 0.25 / (4 + 0.25);
      double variance = skip * skip * (first * first + 4);

      assertThat(squares).isCloseTo(variance, within(0.05 * variance));
    }
  }

  @Test
  void levelsAreChecked() {
    assertThatThrownBy(() -> LcmSampler.of(List.of())).hasMessageContaining("steps must be >= 1");
    assertThatThrownBy(() -> LcmSampler.of(List.of(80.0, 0.0))).hasMessageContaining("above 0");
  }
}
