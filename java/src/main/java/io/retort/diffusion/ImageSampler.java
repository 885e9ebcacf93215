package io.retort.diffusion;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.op.Backend;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import java.util.Arrays;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/// Draws images from a denoiser, in batches that do not change the result.
///
/// Image i of a seed is the same whatever the batch size and however many are drawn; one step is
/// `D(sigma_max z; sigma_max)`, more are Heun steps.
///
/// @param denoiser the network
/// @param parameters its weights
/// @param steps sampling steps; the network is evaluated `2 * steps - 1` times
/// @param sigmas noise levels
/// @param batch images per network call
public record ImageSampler(
    Backend backend,
    Denoiser denoiser,
    Parameters parameters,
    int steps,
    KarrasSigmas sigmas,
    int batch) {

  /// EDM's noise levels, 128 images a call.
  public static ImageSampler of(
      Backend backend, Denoiser denoiser, Parameters parameters, int steps) {
    return new ImageSampler(backend, denoiser, parameters, steps, KarrasSigmas.EDM, 128);
  }

  /// Network evaluations per image.
  public int evaluations() {
    return 2 * steps - 1;
  }

  /// Standard normal latents of images `first` to `first + count - 1`, `(count, H, W, C)`.
  public float[] latents(long seed, int first, int count) {
    PhiloxKey key = new PhiloxKey(seed, Purpose.NOISE, 0, 0);
    int pixels = Math.toIntExact(denoiser.images(1).elements());
    float[] latents = new float[Math.multiplyExact(count, pixels)];
    for (int i = 0; i < latents.length; i++) {
      latents[i] = (float) Philox.normal(key, (long) first * pixels + i);
    }
    return latents;
  }

  /// Images `(N, H, W, C)`, about in [-1, 1], from given standard normal latents.
  ///
  /// @param labels class per image, null for unconditional
  /// @param progress told how many images are done
  public float[] sample(float[] latents, int @Nullable [] labels, LongConsumer progress) {
    int pixels = Math.toIntExact(denoiser.images(1).elements());
    int count = latents.length / pixels;
    float[] images = new float[latents.length];
    for (int from = 0; from < count; from += batch) {
      int to = Math.min(count, from + batch);
      int[] part = labels == null ? null : Arrays.copyOfRange(labels, from, to);
      double[] drawn = draw(widen(latents, from * pixels, to * pixels), part, to - from);
      for (int i = 0; i < drawn.length; i++) {
        images[from * pixels + i] = (float) drawn[i];
      }
      progress.accept(to);
    }
    return images;
  }

  private double[] draw(double[] latents, int @Nullable [] labels, int count) {
    return HeunSampler.deterministic(sigmas, steps)
        .sample(
            latents,
            (x, sigma) -> denoise(x, sigma, labels, count),
            step -> new double[latents.length],
            (done, x) -> {});
  }

  private double[] denoise(double[] x, double sigma, int @Nullable [] labels, int count) {
    float[] levels = new float[count];
    Arrays.fill(levels, (float) sigma);
    float[] noised = new float[x.length];
    for (int i = 0; i < x.length; i++) {
      noised[i] = (float) x[i];
    }
    float[] denoised = denoise(noised, levels, labels);
    return widen(denoised, 0, denoised.length);
  }

  /// One call of the denoiser on `(N, H, W, C)` images with a noise level each.
  public float[] denoise(float[] x, float[] sigma, int @Nullable [] labels) {
    try (Scope scope = new Scope(backend.memory())) {
      Tape tape = Tape.inference(backend, scope);
      Shape shape = denoiser.images(sigma.length);
      return denoiser
          .denoise(tape, parameters, tape.constant(shape, x), sigma, labels, null)
          .value()
          .floats();
    }
  }

  private static double[] widen(float[] values, int from, int to) {
    double[] wide = new double[to - from];
    for (int i = 0; i < wide.length; i++) {
      wide[i] = values[from + i];
    }
    return wide;
  }
}
