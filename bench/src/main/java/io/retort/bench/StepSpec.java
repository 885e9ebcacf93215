package io.retort.bench;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/// The step that every contestant of [StepBench] takes, and the numbers that fill it.
///
/// The network is EDM's DDPM++ U-Net, small: three levels of widths 1, 2, 2, two blocks each,
/// attention at 16x16, 3 image channels, unconditional; 6.99 million parameters at 64 channels.
/// Weights and images come from a hash, so that engines in different processes start from the same
/// numbers and must arrive at the same loss.
///
/// @param batch images a step
/// @param resolution side of an image
/// @param channels width of the first level
/// @param threads of the engine
public record StepSpec(int batch, int resolution, int channels, int threads) {
  /// Width of each level in units of `channels`.
  public static final List<Integer> MULTIPLIERS = List.of(1, 2, 2);

  /// Residual blocks a level of the encoder.
  public static final int BLOCKS = 2;

  /// Side of the level with attention.
  public static final int ATTENTION = 16;

  public static final int IMAGE_CHANNELS = 3;

  /// Of the data, in EDM's preconditioning.
  public static final double SIGMA_DATA = 0.5;

  public static final double LEARNING_RATE = 1e-4;

  private static final int CLEAN = 1 << 20;
  private static final int NOISE = CLEAN + 1;
  private static final int SIGMA = CLEAN + 2;
  private static final int NOISES = CLEAN + 3;

  /// Where the parameters of a teacher that is not the student begin in the hash's streams.
  static final int TEACHER = 1 << 16;

  /// Where those of the Embedding Loss's network begin.
  static final int EMBEDDING = 1 << 17;

  public StepSpec {
    if (batch < 1 || threads < 1 || resolution < 4 || channels < 4) {
      throw new IllegalArgumentException(
          "steps: batch and threads must be >= 1, resolution and channels >= 4");
    }
  }

  /// As arguments of a worker process.
  public List<String> arguments() {
    return List.of(
        "batch=" + batch, "resolution=" + resolution, "channels=" + channels, "threads=" + threads);
  }

  /// From the arguments of a worker process; others are ignored.
  public static StepSpec parse(String... arguments) {
    Map<String, String> given =
        Arrays.stream(arguments)
            .map(argument -> argument.split("=", 2))
            .filter(pair -> pair.length == 2)
            .collect(Collectors.toMap(pair -> pair[0], pair -> pair[1]));
    return new StepSpec(
        Integer.parseInt(given.getOrDefault("batch", "32")),
        Integer.parseInt(given.getOrDefault("resolution", "32")),
        Integer.parseInt(given.getOrDefault("channels", "64")),
        Integer.parseInt(given.getOrDefault("threads", "2")));
  }

  /// Values of parameter `index` in EDM's order: weights of unit gain, norms near 1, biases near 0.
  ///
  /// @param norm whether this scales a normalised activation
  public static float[] parameter(int index, boolean norm, long... extents) {
    int count = (int) Arrays.stream(extents).reduce(1, Math::multiplyExact);
    double fanIn = (double) count / extents[0];
    double scale = extents.length > 1 ? Math.sqrt(3 / fanIn) : 0.1;
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) ((norm ? 1 : 0) + scale * uniform(index, i));
    }
    return values;
  }

  /// Images in [-1, 1], `(batch, resolution, resolution, 3)`.
  public float[] clean() {
    return images(CLEAN, 1);
  }

  /// The same with noise of the levels of [#sigma].
  public float[] noised() {
    float[] images = clean();
    float[] noise = images(NOISE, Math.sqrt(3));
    float[] sigma = sigma();
    int size = images.length / batch;
    for (int i = 0; i < images.length; i++) {
      images[i] += sigma[i / size] * noise[i];
    }
    return images;
  }

  /// Uniform numbers of unit variance in place of noise.
  ///
  /// @param stream which of several
  float[] noise(int stream) {
    return images(NOISES + stream, Math.sqrt(3));
  }

  /// Noise level of every image, spread as in EDM's training.
  public float[] sigma() {
    float[] sigma = new float[batch];
    for (int i = 0; i < batch; i++) {
      sigma[i] = (float) Math.exp(-1.2 + 1.2 * Math.sqrt(3) * uniform(SIGMA, i));
    }
    return sigma;
  }

  private float[] images(int stream, double scale) {
    float[] values = new float[batch * resolution * resolution * IMAGE_CHANNELS];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (scale * uniform(stream, i));
    }
    return values;
  }

  /// Number `i` of a stream, uniform in [-1, 1): SplitMix64's finaliser.
  public static double uniform(int stream, int i) {
    long z = ((long) stream << 32) + i + 0x9e3779b97f4a7c15L;
    z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
    z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
    return ((z ^ (z >>> 31)) >>> 40) * 0x1p-23 - 1;
  }
}
