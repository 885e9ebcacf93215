package io.retort.diffusion;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.UNet;
import io.retort.op.EdmInput;
import io.retort.op.EdmOutput;
import io.retort.tensor.DType;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import org.jspecify.annotations.Nullable;

/// An EDM-preconditioned network: `D(x; sigma) = c_skip x + c_out F(c_in x, ln(sigma) / 4)`.
///
/// F computes in `compute`; preconditioning, weights and the result are float32. Source: EDM, eq. 7
/// and table 1, last column.
///
/// @param network F
/// @param sigmaData standard deviation of the data, 0.5 in EDM
/// @param compute type of F's activations
public record Denoiser(UNet network, double sigmaData, DType compute) {

  /// A denoiser that computes in float32.
  public Denoiser(UNet network, double sigmaData) {
    this(network, sigmaData, DType.F32);
  }

  /// The same denoiser with activations of another type.
  public Denoiser in(DType type) {
    return new Denoiser(network, sigmaData, type);
  }

  /// The denoised images.
  ///
  /// @param x noised images `(N, H, W, C)`
  /// @param sigma noise level per sample, each > 0
  /// @param labels class per sample, null for unconditional (a zero one-hot row)
  /// @param dropout key of the dropout masks, null to switch dropout off
  public Var denoise(
      Tape tape,
      Parameters parameters,
      Var x,
      float[] sigma,
      int @Nullable [] labels,
      @Nullable PhiloxKey dropout) {
    Var level = level(tape, x, sigma);
    Var raw =
        network.apply(
            tape,
            parameters,
            input(tape, x, level),
            conditioning(tape, sigma),
            oneHot(tape, labels, sigma.length),
            dropout);
    return tape.apply(new EdmOutput(sigmaData), x, raw.cast(DType.F32), level);
  }

  /// The encoder's last features of noised images, of type `compute`: what a discriminator head
  /// looks at.
  public Var encode(
      Tape tape,
      Parameters parameters,
      Var x,
      float[] sigma,
      int @Nullable [] labels,
      @Nullable PhiloxKey dropout) {
    Var level = level(tape, x, sigma);
    return network.encode(
        tape,
        parameters,
        input(tape, x, level),
        conditioning(tape, sigma),
        oneHot(tape, labels, sigma.length),
        dropout);
  }

  /// Shape of `count` images.
  public Shape images(int count) {
    return Shape.of(count, network.resolution(), network.resolution(), network.imageChannels());
  }

  private Var input(Tape tape, Var x, Var level) {
    return tape.apply(new EdmInput(sigmaData), x, level).cast(compute);
  }

  private Var level(Tape tape, Var x, float[] sigma) {
    if (!x.shape().equals(images(sigma.length))) {
      throw new ShapeException(
          "denoise: x must be "
              + images(sigma.length)
              + " for "
              + sigma.length
              + " noise levels, got "
              + x.shape());
    }
    for (float s : sigma) {
      if (!(s > 0) || Float.isInfinite(s)) {
        throw new IllegalArgumentException("denoise: sigma must be finite and > 0, got " + s);
      }
    }
    return tape.constant(Shape.of(sigma.length), sigma);
  }

  private static Var conditioning(Tape tape, float[] sigma) {
    float[] noise = new float[sigma.length];
    for (int i = 0; i < noise.length; i++) {
      noise[i] = (float) (Math.log(sigma[i]) / 4);
    }
    return tape.constant(Shape.of(noise.length), noise);
  }

  private @Nullable Var oneHot(Tape tape, int @Nullable [] labels, int samples) {
    int classes = network.classes();
    if (classes == 0) {
      return null;
    }
    float[] rows = new float[samples * classes];
    if (labels != null) {
      if (labels.length != samples) {
        throw new ShapeException("denoise: labels must be " + samples + ", got " + labels.length);
      }
      for (int i = 0; i < samples; i++) {
        if (labels[i] < 0 || labels[i] >= classes) {
          throw new IllegalArgumentException(
              "denoise: a label must be in [0, " + classes + "), got " + labels[i]);
        }
        rows[i * classes + labels[i]] = 1;
      }
    }
    return tape.constant(Shape.of(samples, classes), rows);
  }
}
