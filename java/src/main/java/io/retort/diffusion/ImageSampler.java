package io.retort.diffusion;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Backend;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import java.util.Arrays;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/// Draws images from a denoiser, in batches that do not change the result.
///
/// Image i of a seed is the same whatever the batch size and however many are drawn: its latents
/// and the noise added on the way belong to its index.
///
/// @param denoiser the network
/// @param parameters its weights
/// @param sampler the way from noise to images
/// @param guidance weight of classifier-free guidance, 1 for none
/// @param seed of the noise added on the way
/// @param batch images per network call, with guidance twice as many
public record ImageSampler(
    Backend backend,
    Denoiser denoiser,
    Parameters parameters,
    Sampler sampler,
    double guidance,
    long seed,
    int batch) {
  private static final int BATCH = 128;

  /// Heun steps over EDM's noise levels, 128 images a call; one step is `D(sigma_max z;
  /// sigma_max)`.
  public static ImageSampler of(
      Backend backend, Denoiser denoiser, Parameters parameters, int steps) {
    return of(backend, denoiser, parameters, steps, KarrasSigmas.EDM);
  }

  /// Heun steps over other noise levels.
  public static ImageSampler of(
      Backend backend, Denoiser denoiser, Parameters parameters, int steps, KarrasSigmas sigmas) {
    Sampler heun = HeunSampler.deterministic(sigmas, steps, denoiser.preconditioning());
    return of(backend, denoiser, parameters, heun);
  }

  /// Any sampler, 128 images a call.
  public static ImageSampler of(
      Backend backend, Denoiser denoiser, Parameters parameters, Sampler sampler) {
    return new ImageSampler(backend, denoiser, parameters, sampler, 1, 0, BATCH);
  }

  /// The same with classifier-free guidance and another seed.
  public ImageSampler with(double weight, long noiseSeed) {
    return new ImageSampler(backend, denoiser, parameters, sampler, weight, noiseSeed, batch);
  }

  /// Sampling steps.
  public int steps() {
    return sampler.steps();
  }

  /// Network evaluations per image; with guidance each is a conditional and an unconditional one.
  public int evaluations() {
    return sampler.evaluations() * (guidance == 1 ? 1 : 2);
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
      double[] drawn = draw(widen(latents, from * pixels, to * pixels), part, from, to - from);
      for (int i = 0; i < drawn.length; i++) {
        images[from * pixels + i] = (float) drawn[i];
      }
      progress.accept(to);
    }
    return images;
  }

  private double[] draw(double[] latents, int @Nullable [] labels, int first, int count) {
    return sampler.sample(
        latents,
        (x, level) -> denoise(x, level, labels, count),
        step -> normals(step, first, count),
        (done, x) -> {});
  }

  /// Noise of one step; every image has a stream of its own.
  private double[] normals(int step, int first, int count) {
    int pixels = Math.toIntExact(denoiser.images(1).elements());
    double[] all = new double[count * pixels];
    float[] one = new float[pixels];
    for (int i = 0; i < count; i++) {
      Philox.normals(new PhiloxKey(seed, Purpose.NOISE, 1 + step, first + i), one);
      for (int j = 0; j < pixels; j++) {
        all[i * pixels + j] = one[j];
      }
    }
    return all;
  }

  private double[] denoise(double[] x, Level level, int @Nullable [] labels, int count) {
    float[] noised = new float[x.length];
    for (int i = 0; i < x.length; i++) {
      noised[i] = (float) x[i];
    }
    float[] denoised =
        run(
            count,
            noised,
            (network, tape, images) -> network.denoise(tape, parameters, images, level, labels));
    return widen(denoised, 0, denoised.length);
  }

  /// One call of the denoiser on `(N, H, W, C)` images with a noise level each.
  ///
  /// @param labels class per image, [Denoiser#NO_CLASS] for the null class, null for unconditional
  public float[] denoise(float[] x, float[] sigma, int @Nullable [] labels) {
    return denoise(x, sigma, labels, null);
  }

  /// The same for a network that is told how its images were augmented.
  ///
  /// @param augmentation one row an image, null for images as they are
  public float[] denoise(
      float[] x, float[] sigma, int @Nullable [] labels, float @Nullable [] augmentation) {
    return run(
        sigma.length,
        x,
        (network, tape, images) ->
            network.denoise(tape, parameters, images, sigma, labels, augmentation));
  }

  private interface Call {
    Var of(GuidedDenoiser network, Tape tape, Var images);
  }

  private float[] run(int count, float[] x, Call call) {
    try (Scope scope = new Scope(backend.memory())) {
      Tape tape = Tape.inference(backend, scope);
      Var images = tape.constant(denoiser.images(count), x);
      return call.of(new GuidedDenoiser(denoiser, guidance), tape, images).value().floats();
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
