package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Conv;
import io.retort.nn.Norm;
import io.retort.nn.Plan;
import io.retort.op.Reshape;
import io.retort.tensor.Shape;

/// DMD2's classifier on the critic's bottleneck: conv4x4 stride 2, norm, SiLU, conv over what is
/// left, norm, SiLU, conv1x1 to one logit.
///
/// Source: DMD2, Yin et al. 2024, section 4.3 (64x64 network), with the kernel of the second
/// convolution fitted to the side of the bottleneck.
///
/// @param side side of the bottleneck, at least 2
/// @param channels its channels
public record DiscriminatorHead(int side, int channels) implements Net {

  public DiscriminatorHead {
    if (side < 2) {
      throw new IllegalArgumentException(
          "discriminator: bottleneck side must be >= 2, got " + side);
    }
  }

  @Override
  public void declare(Plan plan) {
    shrink().declare(plan);
    norm(0).declare(plan);
    collect().declare(plan);
    norm(1).declare(plan);
    logit().declare(plan);
  }

  /// One logit per sample `(N)` from features `(N, side, side, channels)`; large means real.
  public Var apply(Tape tape, Parameters parameters, Var features) {
    Var h = norm(0).silu(tape, parameters, shrink().apply(tape, parameters, features));
    h = norm(1).silu(tape, parameters, collect().apply(tape, parameters, h));
    h = logit().apply(tape, parameters, h);
    return tape.apply(new Reshape(Shape.of(features.shape().dim(0))), h);
  }

  private int shrunk() {
    return (side + 2 - 4) / 2 + 1;
  }

  private Conv shrink() {
    return Conv.plain("conv0", channels, channels, 4, 2, 1);
  }

  private Conv collect() {
    return Conv.plain("conv1", channels, channels, shrunk(), 1, 0);
  }

  private Conv logit() {
    return Conv.plain("conv2", channels, 1, 1, 1, 0);
  }

  private Norm norm(int index) {
    return Norm.edm("norm" + index, channels, 1e-6);
  }
}
