package io.retort.nn;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Conv2d;
import io.retort.op.Pad;
import io.retort.op.Resample;
import io.retort.op.Slice;
import java.util.List;

/// EDM's convolution: optional halving or doubling of the image with a FIR filter, then `kernel x
/// kernel` with bias.
///
/// Fused, the filter and the convolution share one border: down is convolution then filter, up is
/// filter then convolution, with padding only where their sizes differ. Source: the reference
/// networks of EDM, Karras et al. 2022.
///
/// @param kernel odd, or 0 for resampling alone (no parameters)
/// @param filter FIR taps, e.g. `[1, 1]` or `[1, 3, 3, 1]`
/// @param fused share one border; up needs a 3x3 kernel with a filter of 4 taps
/// @param weight initial law of the weights
/// @param bias initial law of the bias
public record ResampleConv(
    String name,
    int in,
    int out,
    int kernel,
    Sampling sampling,
    List<Double> filter,
    boolean fused,
    Init weight,
    Init bias) {

  /// Whether the resolution changes.
  public enum Sampling {
    KEEP,
    UP,
    DOWN
  }

  /// EDM's initial law: Xavier uniform times `scale`, bias 0.
  public ResampleConv(
      String name,
      int in,
      int out,
      int kernel,
      Sampling sampling,
      List<Double> filter,
      boolean fused,
      double scale) {
    this(
        name,
        in,
        out,
        kernel,
        sampling,
        filter,
        fused,
        new Init.XavierUniform(scale),
        new Init.Constant(0));
  }

  public ResampleConv {
    filter = List.copyOf(filter);
    if (fused && sampling == Sampling.UP && (kernel != 3 || filter.size() != 4)) {
      throw new IllegalArgumentException(
          "resample conv: fused up needs kernel 3 and 4 filter taps, got "
              + kernel
              + " and "
              + filter);
    }
  }

  public void declare(Plan plan) {
    if (kernel > 0) {
      conv().declare(plan);
    }
  }

  /// x `(N, H, W, in)` to `(N, H', W', out)` with `H' = H`, `H / 2` or `2 H`.
  public Var apply(Tape tape, Parameters parameters, Var x) {
    if (fused && sampling != Sampling.KEEP) {
      return sampling == Sampling.UP
          ? convolve(tape, parameters, unpadded(tape, x, Resample.Direction.UP), 0)
          : unpadded(
              tape, convolve(tape, parameters, x, kernel / 2 + border()), Resample.Direction.DOWN);
    }
    Var resampled =
        switch (sampling) {
          case KEEP -> x;
          case UP -> tape.apply(new Resample(Resample.Direction.UP, filter), x);
          case DOWN -> tape.apply(new Resample(Resample.Direction.DOWN, filter), x);
        };
    return kernel > 0 ? conv().apply(tape, parameters, resampled) : resampled;
  }

  /// [#apply], plus `shift` `(N, out)`: a number for each sample and channel.
  public Var shifted(Tape tape, Parameters parameters, Var x, Var shift) {
    if (sampling == Sampling.KEEP && kernel > 0) {
      return conv().shifted(tape, parameters, x, shift);
    }
    Var y = apply(tape, parameters, x);
    return y.addBroadcast(shift.reshape(shift.shape().dim(0), 1, 1, out));
  }

  private Var convolve(Tape tape, Parameters parameters, Var x, int padding) {
    Var weight = tape.use(parameters.weight(name));
    Var bias = tape.use(parameters.bias(name));
    return tape.apply(new Conv2d(1, padding, 1), x, weight, bias);
  }

  /// The filter without its padding: pad by as much more, resample, cut the border off again.
  private Var unpadded(Tape tape, Var x, Resample.Direction direction) {
    int border = border();
    if (border == 0) {
      return tape.apply(new Resample(direction, filter), x);
    }
    Var padded = tape.apply(new Pad(border, border, border, border), x);
    Var wide = tape.apply(new Resample(direction, filter), padded);
    Var rows = tape.apply(new Slice(1, border, wide.shape().dim(1) - border), wide);
    return tape.apply(new Slice(2, border, wide.shape().dim(2) - border), rows);
  }

  /// What the filter reaches over the edge of the image.
  private int border() {
    return (filter.size() - 1) / 2;
  }

  private Conv conv() {
    return new Conv(name, in, out, kernel, 1, kernel / 2, weight, bias);
  }
}
