package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.UNet2DConfig.Stage;
import io.retort.nn.Conv;
import io.retort.nn.Plan;
import io.retort.nn.ResampleConv.Sampling;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// One level of a [UNet2D]'s encoder: residual blocks, each with attention or none, then half the
/// resolution.
final class UNet2DEncoder {
  static final List<Double> BOX = List.of(1.0, 1.0);
  static final List<Double> FIR = List.of(1.0, 3.0, 3.0, 1.0);

  /// Levels with a skipping image divide every sum by this.
  static final double SKIP_DIVISOR = Math.sqrt(2);

  /// Groups of their attention's norm, whatever the width.
  static final int SKIP_GROUPS = 32;

  private final List<ResnetBlock> resnets = new ArrayList<>();
  private final List<SpatialAttention> attentions = new ArrayList<>();
  private final @Nullable ResnetBlock resnetDown;
  private final @Nullable Conv convDown;
  private final @Nullable Conv imageIn;

  /// Level `index` from `in` channels.
  UNet2DEncoder(UNet2DConfig config, int index, int in) {
    String name = "down_blocks." + index;
    Stage stage = config.down().get(index);
    int out = config.channels().get(index);
    boolean last = index == config.channels().size() - 1;
    boolean skips = stage.skips();
    double divisor = skips ? SKIP_DIVISOR : 1;
    for (int i = 0; i < config.layers(); i++) {
      int from = i == 0 ? in : out;
      resnets.add(resnet(config, name + ".resnets." + i, from, out, skips, Sampling.KEEP));
      if (stage.attends()) {
        attentions.add(
            new SpatialAttention(
                name + ".attentions." + i,
                out,
                config.headWidthOf(out),
                skips ? SKIP_GROUPS : config.groups(),
                config.eps(),
                divisor));
      }
    }
    boolean byResnet = stage == Stage.RESNET || (stage == Stage.ATTENTION && config.resnetDown());
    String shrink = name + (skips ? ".resnet_down" : ".downsamplers.0");
    resnetDown =
        !last && (byResnet || skips)
            ? resnet(config, shrink, out, out, skips, Sampling.DOWN)
            : null;
    convDown =
        last || byResnet || skips
            ? null
            : Conv.plain(shrink + ".conv", out, out, 3, 2, config.downPadding());
    imageIn =
        last || !skips
            ? null
            : Conv.plain(name + ".skip_conv", config.imageChannels(), out, 1, 1, 0);
  }

  private static ResnetBlock resnet(
      UNet2DConfig config, String name, int in, int out, boolean skips, Sampling sampling) {
    int groupsIn = skips ? UNet2DConfig.quarter(in) : config.groups();
    return resnet(config, name, in, out, groupsIn, skips, sampling);
  }

  /// A residual block of a level, of the encoder or the decoder.
  ///
  /// @param groupsIn of its first norm
  /// @param skips whether an image runs beside the features
  static ResnetBlock resnet(
      UNet2DConfig config,
      String name,
      int in,
      int out,
      int groupsIn,
      boolean skips,
      Sampling sampling) {
    return new ResnetBlock(
        name,
        in,
        out,
        config.time().width(),
        groupsIn,
        skips ? UNet2DConfig.quarter(out) : config.groups(),
        config.eps(),
        config.dropout(),
        config.scaleShift(),
        skips ? SKIP_DIVISOR : 1,
        sampling,
        skips ? FIR : BOX,
        skips && sampling != Sampling.KEEP);
  }

  /// In the order of diffusers' checkpoints: attention first.
  void declare(Plan plan) {
    attentions.forEach(attention -> attention.declare(plan));
    resnets.forEach(resnet -> resnet.declare(plan));
    if (resnetDown != null) {
      resnetDown.declare(plan);
    }
    if (convDown != null) {
      convDown.declare(plan);
    }
    if (imageIn != null) {
      imageIn.declare(plan);
    }
  }

  /// Features and the image that runs beside them.
  record State(Var features, @Nullable Var image) {}

  /// The level on features `(N, H, W, in)`; every result the decoder needs is pushed on `skips`.
  State apply(
      Tape tape,
      Parameters parameters,
      State state,
      Var activated,
      DropoutKeys keys,
      Deque<Var> skips) {
    Var h = state.features;
    for (int i = 0; i < resnets.size(); i++) {
      h = resnets.get(i).apply(tape, parameters, h, activated, keys.next());
      h = attentions.isEmpty() ? h : attentions.get(i).apply(tape, parameters, h);
      skips.push(h);
    }
    Var image = state.image;
    if (convDown != null) {
      Var padded = convDown.padding() == 0 ? h.pad(0, 1, 0, 1) : h;
      h = convDown.apply(tape, parameters, padded);
      skips.push(h);
    } else if (resnetDown != null) {
      h = resnetDown.apply(tape, parameters, h, activated, keys.next());
      if (imageIn != null && image != null) {
        image = image.downsample(FIR);
        h = h.add(imageIn.apply(tape, parameters, image));
      }
      skips.push(h);
    }
    return new State(h, image);
  }
}
