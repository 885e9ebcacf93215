package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.UNet2DConfig.Stage;
import io.retort.net.UNet2DEncoder.State;
import io.retort.nn.Conv;
import io.retort.nn.Norm;
import io.retort.nn.Plan;
import io.retort.nn.ResampleConv.Sampling;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// One level of a [UNet2D]'s decoder: residual blocks over the features and the encoder's, each
/// with attention or none, then twice the resolution.
final class UNet2DDecoder {
  private final boolean skips;
  private final List<ResnetBlock> resnets = new ArrayList<>();
  private final List<SpatialAttention> attentions = new ArrayList<>();
  private final @Nullable ResnetBlock resnetUp;
  private final @Nullable Conv convUp;
  private final @Nullable Conv imageOut;
  private final @Nullable Norm imageNorm;

  /// Level `index`, coarsest first.
  UNet2DDecoder(UNet2DConfig config, int index) {
    String name = "up_blocks." + index;
    Stage stage = config.up().get(index);
    List<Integer> widths = config.channels().reversed();
    int before = widths.get(Math.max(index - 1, 0));
    int out = widths.get(index);
    int finer = widths.get(Math.min(index + 1, widths.size() - 1));
    boolean last = index == widths.size() - 1;
    skips = stage.skips();
    for (int i = 0; i <= config.layers(); i++) {
      int skip = i == config.layers() ? finer : out;
      int from = i == 0 ? before : out;
      resnets.add(
          UNet2DEncoder.resnet(
              config,
              name + ".resnets." + i,
              from + skip,
              out,
              groupsIn(config, stage, from, skip),
              skips,
              Sampling.KEEP));
    }
    int attending = stage == Stage.ATTENTION ? resnets.size() : stage.attends() ? 1 : 0;
    for (int i = 0; i < attending; i++) {
      attentions.add(
          new SpatialAttention(
              name + ".attentions." + i,
              out,
              config.headWidthOf(out),
              skips ? UNet2DEncoder.SKIP_GROUPS : config.groups(),
              config.eps(),
              skips ? UNet2DEncoder.SKIP_DIVISOR : 1));
    }
    boolean byResnet = stage == Stage.RESNET || (stage == Stage.ATTENTION && config.resnetUp());
    String grow = name + (skips ? ".resnet_up" : ".upsamplers.0");
    int groups = skips ? UNet2DConfig.quarter(out) : config.groups();
    resnetUp =
        !last && (byResnet || skips)
            ? UNet2DEncoder.resnet(config, grow, out, out, groups, skips, Sampling.UP)
            : null;
    convUp = last || byResnet || skips ? null : Conv.plain(grow + ".conv", out, out, 3, 1, 1);
    boolean draws = skips && !last;
    imageOut = draws ? Conv.plain(name + ".skip_conv", out, config.imageChannels(), 3, 1, 1) : null;
    imageNorm = draws ? new Norm(name + ".skip_norm", out, groups, config.eps()) : null;
  }

  /// Groups of the first norm over `from + skip` channels. With attention beside a skipping image
  /// the reference implementation computes another number than its kin does; checkpoints were
  /// trained with it.
  private static int groupsIn(UNet2DConfig config, Stage stage, int from, int skip) {
    return switch (stage) {
      case PLAIN, ATTENTION, RESNET -> config.groups();
      case SKIP -> UNet2DConfig.quarter(from + skip);
      case ATTENTION_SKIP -> UNet2DConfig.quarter(4 * from + skip);
    };
  }

  /// In the order of diffusers' checkpoints: attention first.
  void declare(Plan plan) {
    attentions.forEach(attention -> attention.declare(plan));
    resnets.forEach(resnet -> resnet.declare(plan));
    if (resnetUp != null) {
      resnetUp.declare(plan);
    }
    if (convUp != null) {
      convUp.declare(plan);
    }
    if (imageOut != null && imageNorm != null) {
      imageOut.declare(plan);
      imageNorm.declare(plan);
    }
  }

  /// The level on features `(N, H, W, C)`; takes what it needs from `skips`.
  State apply(
      Tape tape,
      Parameters parameters,
      State state,
      Var activated,
      DropoutKeys keys,
      Deque<Var> pushed) {
    Var h = state.features();
    for (int i = 0; i < resnets.size(); i++) {
      h = Var.concat(3, h, pushed.pop());
      h = resnets.get(i).apply(tape, parameters, h, activated, keys.next());
      boolean attends =
          skips ? i == resnets.size() - 1 && !attentions.isEmpty() : i < attentions.size();
      h = attends ? attentions.get(skips ? 0 : i).apply(tape, parameters, h) : h;
    }
    Var image = skips ? drawn(tape, parameters, h, state.image()) : state.image();
    if (convUp != null) {
      h = convUp.apply(tape, parameters, h.upsample(UNet2DEncoder.BOX));
    } else if (resnetUp != null) {
      h = resnetUp.apply(tape, parameters, h, activated, keys.next());
    }
    return new State(h, image);
  }

  /// The image beside the features: twice as large, plus what these features draw.
  private @Nullable Var drawn(Tape tape, Parameters parameters, Var features, @Nullable Var image) {
    Var larger = image == null ? null : image.upsample(UNet2DEncoder.FIR);
    if (imageOut == null || imageNorm == null) {
      return larger;
    }
    Var drawn = imageOut.apply(tape, parameters, imageNorm.silu(tape, parameters, features));
    return larger == null ? drawn : larger.add(drawn);
  }
}
