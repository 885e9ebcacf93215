package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Conv;
import io.retort.nn.Dense;
import io.retort.nn.Norm;
import io.retort.nn.Plan;
import io.retort.nn.ResampleConv.Sampling;
import io.retort.op.Activation;
import io.retort.op.Add;
import io.retort.op.Affine;
import io.retort.op.Concat;
import io.retort.op.Sinusoid;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.ShapeException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// The DDPM++ U-Net as EDM configures it (`ddpmpp`): positional noise embedding, standard encoder
/// and decoder.
///
/// Parameter names and order are EDM's, with the prefix `model.` of its preconditioning wrapper.
/// Source: Song et al. 2021, appendix; EDM, Karras et al. 2022, appendix F.
public final class SongUNet implements UNet {
  private static final String PREFIX = "model.";
  private static final double EPS = 1e-6;
  private static final double MAX_POSITIONS = 10000;

  /// Everything that shapes the network.
  ///
  /// @param resolution side of the square image; divisible by 2 for every level after the first
  /// @param imageChannels 1 grey, 3 colour
  /// @param classes number of classes, 0 if unconditional
  /// @param channels width of the first level
  /// @param multipliers width of each level in units of `channels`
  /// @param blocks residual blocks per level in the encoder; the decoder has one more
  /// @param attention sides of the levels with attention
  /// @param dropout probability inside each block while training
  /// @param augmentation length of the augmentation condition, 0 for none
  public record Config(
      int resolution,
      int imageChannels,
      int classes,
      int channels,
      List<Integer> multipliers,
      int blocks,
      List<Integer> attention,
      double dropout,
      int augmentation) {

    public Config {
      multipliers = List.copyOf(multipliers);
      attention = List.copyOf(attention);
      int coarsest = resolution >> (multipliers.size() - 1);
      if (multipliers.isEmpty()
          || coarsest << (multipliers.size() - 1) != resolution
          || coarsest < 1) {
        throw new ShapeException(
            "unet: resolution must be divisible by 2 for every level after the first, got "
                + resolution
                + " with multipliers "
                + multipliers);
      }
      if (channels < 4 || channels % 4 != 0 || blocks < 1 || imageChannels < 1 || classes < 0) {
        throw new ShapeException(
            "unet: channels must be a positive multiple of 4 and blocks, image channels at least 1, got "
                + channels
                + ", "
                + blocks
                + ", "
                + imageChannels);
      }
    }
  }

  private final Config config;
  private final Conv stem;
  private final List<UNetBlock> encoder = new ArrayList<>();
  private final List<UNetBlock> decoder = new ArrayList<>();
  private final Norm headNorm;
  private final Conv head;
  private final int embedding;

  public SongUNet(Config config) {
    this.config = config;
    embedding = 4 * config.channels;
    int levels = config.multipliers.size();
    Deque<Integer> skips = new ArrayDeque<>();
    int width = config.channels;
    stem = Conv.same(name("enc", config.resolution, "conv"), config.imageChannels, width, 3, 1);
    skips.push(width);
    for (int level = 0; level < levels; level++) {
      int side = config.resolution >> level;
      if (level > 0) {
        encoder.add(block("enc", side, "down", width, width, Sampling.DOWN, false));
        skips.push(width);
      }
      for (int i = 0; i < config.blocks; i++) {
        int out = config.channels * config.multipliers.get(level);
        encoder.add(block("enc", side, "block" + i, width, out, Sampling.KEEP, attends(side)));
        width = out;
        skips.push(width);
      }
    }
    for (int level = levels - 1; level >= 0; level--) {
      int side = config.resolution >> level;
      if (level == levels - 1) {
        decoder.add(block("dec", side, "in0", width, width, Sampling.KEEP, true));
        decoder.add(block("dec", side, "in1", width, width, Sampling.KEEP, false));
      } else {
        decoder.add(block("dec", side, "up", width, width, Sampling.UP, false));
      }
      for (int i = 0; i <= config.blocks; i++) {
        int out = config.channels * config.multipliers.get(level);
        boolean attends = i == config.blocks && attends(side);
        decoder.add(
            block("dec", side, "block" + i, width + skips.pop(), out, Sampling.KEEP, attends));
        width = out;
      }
    }
    headNorm = Norm.edm(name("dec", config.resolution, "aux_norm"), width, EPS);
    head =
        Conv.same(name("dec", config.resolution, "aux_conv"), width, config.imageChannels, 3, 1e-5);
  }

  public Config config() {
    return config;
  }

  @Override
  public int resolution() {
    return config.resolution;
  }

  @Override
  public int imageChannels() {
    return config.imageChannels;
  }

  @Override
  public int classes() {
    return config.classes;
  }

  @Override
  public int bottleneckSide() {
    return config.resolution >> (config.multipliers.size() - 1);
  }

  @Override
  public int bottleneckChannels() {
    return config.channels * config.multipliers.getLast();
  }

  @Override
  public void declare(Plan plan) {
    if (config.classes > 0) {
      labelMap().declare(plan);
    }
    if (config.augmentation > 0) {
      Dense.xavier(PREFIX + "map_augment", config.augmentation, config.channels)
          .withoutBias()
          .declare(plan);
    }
    noiseMap(0).declare(plan);
    noiseMap(1).declare(plan);
    stem.declare(plan);
    encoder.forEach(block -> block.declare(plan));
    decoder.forEach(block -> block.declare(plan));
    headNorm.declare(plan);
    head.declare(plan);
  }

  @Override
  public Var apply(
      Tape tape,
      Parameters parameters,
      Var x,
      Var noise,
      @Nullable Var labels,
      @Nullable PhiloxKey dropout) {
    Var emb = embed(tape, parameters, noise, labels);
    Deque<Var> skips = new ArrayDeque<>();
    Var h = down(tape, parameters, x, emb, dropout, skips);
    int stream = encoder.size();
    for (UNetBlock block : decoder) {
      if (h.shape().last() != block.in()) {
        h = tape.apply(new Concat(3), h, skips.pop());
      }
      h = block.apply(tape, parameters, h, emb, masks(dropout, stream++));
    }
    return head.apply(tape, parameters, headNorm.silu(tape, parameters, h));
  }

  @Override
  public Var encode(
      Tape tape,
      Parameters parameters,
      Var x,
      Var noise,
      @Nullable Var labels,
      @Nullable PhiloxKey dropout) {
    Var emb = embed(tape, parameters, noise, labels);
    return down(tape, parameters, x, emb, dropout, new ArrayDeque<>());
  }

  private Var down(
      Tape tape,
      Parameters parameters,
      Var x,
      Var emb,
      @Nullable PhiloxKey dropout,
      Deque<Var> skips) {
    Var h = stem.apply(tape, parameters, x);
    skips.push(h);
    int stream = 0;
    for (UNetBlock block : encoder) {
      h = block.apply(tape, parameters, h, emb, masks(dropout, stream++));
      skips.push(h);
    }
    return h;
  }

  private Var embed(Tape tape, Parameters parameters, Var noise, @Nullable Var labels) {
    Var emb = tape.apply(new Sinusoid(config.channels, MAX_POSITIONS, true, true), noise);
    if (config.classes > 0 && labels != null) {
      Var scaled = tape.apply(new Affine(Math.sqrt(config.classes), 0), labels);
      emb = tape.apply(new Add(1, 1), emb, labelMap().apply(tape, parameters, scaled));
    }
    emb = silu(tape, noiseMap(0).apply(tape, parameters, emb));
    return silu(tape, noiseMap(1).apply(tape, parameters, emb));
  }

  private static Var silu(Tape tape, Var x) {
    return tape.apply(new Activation(Activation.Kind.SILU, 0), x);
  }

  private static @Nullable PhiloxKey masks(@Nullable PhiloxKey key, int block) {
    return key == null ? null : key.stream(key.stream() + block);
  }

  private UNetBlock block(
      String half, int side, String part, int in, int out, Sampling sampling, boolean attends) {
    return new UNetBlock(
        name(half, side, part),
        in,
        out,
        embedding,
        sampling,
        List.of(1.0, 1.0),
        attends ? 1 : 0,
        config.dropout,
        false,
        true,
        Math.sqrt(0.5),
        EPS);
  }

  private boolean attends(int side) {
    return config.attention.contains(side);
  }

  private Dense labelMap() {
    return Dense.xavier(PREFIX + "map_label", config.classes, config.channels);
  }

  private Dense noiseMap(int index) {
    return Dense.xavier(
        PREFIX + "map_layer" + index, index == 0 ? config.channels : embedding, embedding);
  }

  private static String name(String half, int side, String part) {
    return PREFIX + half + "." + side + "x" + side + "_" + part;
  }
}
