package io.retort.diffusion;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.retort.CudaUnderTest;
import io.retort.Golden;
import io.retort.grad.Parameters;
import io.retort.net.SongUNet;
import io.retort.op.Backend;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// The sampler's whole trajectory, network included, against the reference implementation.
@Tag("device")
final class HeunSamplerGoldenTest {
  private final Backend backend = CudaUnderTest.orCpu();

  @Test
  void deterministicTrajectories() {
    compare("heun18", HeunSampler.deterministic(KarrasSigmas.EDM, 18));
    compare("heun5", HeunSampler.deterministic(new KarrasSigmas(0.01, 50, 5), 5));
  }

  @Test
  void churnedTrajectory() {
    compare("churn8", new HeunSampler(KarrasSigmas.EDM, 8, 40, 0.05, 50, 1.003));
  }

  // one grey channel: NCHW and NHWC are the same order
  private void compare(String name, HeunSampler sampler) {
    SongUNet net =
        new SongUNet(new SongUNet.Config(8, 1, 3, 8, List.of(1, 2), 1, List.of(4), 0, 0));
    try (Golden golden = Golden.open("sampler");
        Parameters parameters = net.plan().allocate(backend.memory())) {
      golden.load("w/", parameters);
      ImageSampler images = ImageSampler.of(backend, new Denoiser(net, 0.5), parameters, 1);
      float[] rows = golden.floats("in/class_labels");
      int[] labels = new int[rows.length / 3];
      for (int i = 0; i < rows.length; i++) {
        if (rows[i] == 1) {
          labels[i / 3] = i % 3;
        }
      }
      double[] sigmas = golden.doubles(name + "/traj/sigma");
      double[] states = golden.doubles(name + "/traj/x");
      List<Double> asked = new ArrayList<>();
      Sampler.Denoise denoise =
          (x, level) -> {
            double sigma = level.noise();
            int call = asked.size();
            asked.add(sigma);
            assertThat(sigma).isCloseTo(sigmas[call], within(1e-9 * sigmas[call]));
            assertClose(
                name + " state at call " + call,
                x,
                Arrays.copyOfRange(states, call * x.length, (call + 1) * x.length));
            return images(images, x, sigma, labels);
          };
      double[] latents = golden.doubles("in/latents");
      double[] noise =
          golden.has(name + "/in/noise") ? golden.doubles(name + "/in/noise") : new double[0];
      double[] x =
          sampler.sample(
              latents,
              denoise,
              step -> Arrays.copyOfRange(noise, step * latents.length, (step + 1) * latents.length),
              (done, state) -> {});
      assertThat(asked).hasSize(sampler.evaluations());
      assertClose(name + " result", x, golden.doubles(name + "/out/x"));
    }
  }

  private static double[] images(ImageSampler images, double[] x, double sigma, int[] labels) {
    float[] noised = new float[x.length];
    for (int i = 0; i < x.length; i++) {
      noised[i] = (float) x[i];
    }
    float[] levels = new float[labels.length];
    Arrays.fill(levels, (float) sigma);
    float[] d = images.denoise(noised, levels, labels);
    double[] wide = new double[d.length];
    for (int i = 0; i < d.length; i++) {
      wide[i] = d[i];
    }
    return wide;
  }

  private static void assertClose(String what, double[] actual, double[] expected) {
    for (int i = 0; i < expected.length; i++) {
      double bound = 1e-4 * Math.max(1, Math.abs(expected[i]));
      assertThat(actual[i]).as("%s [%d]", what, i).isCloseTo(expected[i], within(bound));
    }
  }
}
