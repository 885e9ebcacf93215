package io.retort.diffusion;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Add;
import io.retort.op.Concat;
import io.retort.op.Slice;
import java.util.Arrays;
import java.util.Collections;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/// Classifier-free guidance: `D = D_null + w (D_class - D_null)`, both from one batched call of the
/// network.
///
/// Source: Ho & Salimans 2022, eq. 6, with w = 1 for the conditional network alone.
///
/// @param denoiser the network
/// @param weight w; 1 asks for the class alone, 0 for the null class alone
public record GuidedDenoiser(Denoiser denoiser, double weight) {

  public GuidedDenoiser {
    if (!Double.isFinite(weight)) {
      throw new IllegalArgumentException("guidance: the weight must be finite, got " + weight);
    }
    if (weight != 1 && denoiser.network().classes() == 0) {
      throw new IllegalArgumentException(
          "guidance: the model is unconditional, its weight must be 1, got " + weight);
    }
  }

  /// The denoised images, for inference.
  ///
  /// @param x noised images `(N, H, W, C)`
  /// @param sigma noise level per sample, each > 0
  /// @param labels class per sample, [Denoiser#NO_CLASS] for the null class, null if all are
  ///   unconditional
  /// @param augmentation what was done to each image, one row each; null for nothing
  public Var denoise(
      Tape tape,
      Parameters parameters,
      Var x,
      float[] sigma,
      int @Nullable [] labels,
      float @Nullable [] augmentation) {
    if (plain(labels)) {
      return denoiser.denoise(tape, parameters, x, sigma, labels, augmentation, null);
    }
    float[] twice = twice(sigma);
    float[] told = augmentation == null ? null : twice(augmentation);
    int[] both = withNull(labels, sigma.length);
    return guided(
        tape, x, images -> denoiser.denoise(tape, parameters, images, twice, both, told, null));
  }

  /// The denoised images of states of one level.
  public Var denoise(
      Tape tape, Parameters parameters, Var x, Level level, int @Nullable [] labels) {
    int count = Math.toIntExact(x.shape().dim(0));
    boolean exploding = level.signal() == 1 && Double.isNaN(level.time());
    if (exploding) {
      float[] sigma = new float[count];
      Arrays.fill(sigma, (float) level.noise());
      return denoise(tape, parameters, x, sigma, labels, null);
    }
    var coefficients = denoiser.preconditioning().at(level);
    if (plain(labels)) {
      return denoiser.denoise(
          tape, parameters, x, Collections.nCopies(count, coefficients), labels, null);
    }
    int[] both = withNull(labels, count);
    return guided(
        tape,
        x,
        images ->
            denoiser.denoise(
                tape,
                parameters,
                images,
                Collections.nCopies(2 * count, coefficients),
                both,
                null));
  }

  private boolean plain(int @Nullable [] labels) {
    return weight == 1 || labels == null;
  }

  private static float[] twice(float[] values) {
    float[] twice = Arrays.copyOf(values, 2 * values.length);
    System.arraycopy(values, 0, twice, values.length, values.length);
    return twice;
  }

  private static int[] withNull(int @Nullable [] labels, int count) {
    int[] both = new int[2 * count];
    Arrays.fill(both, Denoiser.NO_CLASS);
    if (labels != null) {
      System.arraycopy(labels, 0, both, 0, count);
    }
    return both;
  }

  /// The combination of the two halves that `network` makes of x twice.
  private Var guided(Tape tape, Var x, UnaryOperator<Var> network) {
    long count = x.shape().dim(0);
    Var both = network.apply(tape.apply(new Concat(0), x, x));
    Var ofClass = tape.apply(new Slice(0, 0, count), both);
    Var ofNull = tape.apply(new Slice(0, count, 2 * count), both);
    return tape.apply(new Add(weight, 1 - weight), ofClass, ofNull);
  }
}
