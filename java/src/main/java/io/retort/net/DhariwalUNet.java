package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Conv;
import io.retort.nn.Dense;
import io.retort.nn.Init;
import io.retort.nn.Norm;
import io.retort.nn.Plan;
import io.retort.nn.ResampleConv.Sampling;
import io.retort.op.Activation;
import io.retort.op.Add;
import io.retort.op.Concat;
import io.retort.op.Sinusoid;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.ShapeException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;

/// The U-Net of Dhariwal & Nichol (ADM) as EDM configures it: scale and shift from the embedding,
/// attention heads of 64 channels, resampling without a convolution in the skip.
///
/// Where a level has fewer than 64 channels there is no attention. Parameter names and order are
/// EDM's, with the prefix `model.` of its preconditioning wrapper. Source: Dhariwal & Nichol 2021;
/// EDM, Karras et al. 2022, appendix F.
public final class DhariwalUNet implements UNet {
  private static final String PREFIX = "model.";
  private static final int HEAD_CHANNELS = 64;
  private static final double EPS = 1e-5;
  private static final double MAX_POSITIONS = 10000;
  private static final List<Double> BOX = List.of(1.0, 1.0);

  /// Everything that shapes the network.
  ///
  /// @param resolution side of the square image; divisible by 2 for every level after the first
  /// @param imageChannels 1 grey, 3 colour
  /// @param outputs images the network makes per input: 2 where it also predicts a variance
  /// @param classes number of classes, 0 if unconditional
  /// @param channels unit of width
  /// @param multipliers width of each level in units of `channels`
  /// @param embeddingWidth width of the conditioning vector in units of `channels`
  /// @param blocks residual blocks per level in the encoder; the decoder has one more
  /// @param attention sides of the levels with attention
  /// @param dropout probability inside each block while training
  /// @param augmentation length of the augmentation condition, 0 for none
  /// @param labelDropout how likely training shows the null class instead of a label
  public record Config(
      int resolution,
      int imageChannels,
      int outputs,
      int classes,
      int channels,
      List<Integer> multipliers,
      int embeddingWidth,
      int blocks,
      List<Integer> attention,
      double dropout,
      int augmentation,
      double labelDropout) {

    public Config {
      multipliers = List.copyOf(multipliers);
      attention = List.copyOf(attention);
      if (blocks < 1
          || imageChannels < 1
          || outputs < 1
          || classes < 0
          || augmentation < 0
          || embeddingWidth < 1) {
        throw new ShapeException(
            "unet: blocks, image channels, outputs and embedding width must be at least 1, classes"
                + " and augmentation not negative, got %d, %d, %d, %d, %d, %d"
                    .formatted(
                        blocks, imageChannels, outputs, embeddingWidth, classes, augmentation));
      }
      if (channels < 2 || channels % 2 != 0) {
        throw new ShapeException("unet: channels must be even, got " + channels);
      }
    }

    private Pyramid pyramid() {
      return new Pyramid(resolution, channels, multipliers);
    }

    private int embeddingChannels() {
      return channels * embeddingWidth;
    }
  }

  private final Config config;
  private final Pyramid pyramid;
  private final Conv stem;
  private final List<UNetBlock> encoder = new ArrayList<>();
  private final List<UNetBlock> decoder = new ArrayList<>();
  private final Norm headNorm;
  private final Conv head;

  /// @throws ShapeException if widths do not fit the norms' groups or the attention's heads
  public DhariwalUNet(Config config) {
    this.config = config;
    pyramid = config.pyramid();
    Deque<Integer> skips = new ArrayDeque<>();
    int width = pyramid.width(0);
    stem = UNetBlock.Start.ADM.inner(name("enc", 0, "conv"), config.imageChannels, width, 3, 1);
    skips.push(width);
    for (int level = 0; level < pyramid.levels(); level++) {
      if (level > 0) {
        encoder.add(block("enc", level, "down", width, width, Sampling.DOWN, false));
        skips.push(width);
      }
      for (int i = 0; i < config.blocks; i++) {
        int out = pyramid.width(level);
        encoder.add(block("enc", level, "block" + i, width, out, Sampling.KEEP, attends(level)));
        width = out;
        skips.push(width);
      }
    }
    for (int level = pyramid.coarsest(); level >= 0; level--) {
      if (level == pyramid.coarsest()) {
        decoder.add(block("dec", level, "in0", width, width, Sampling.KEEP, true));
        decoder.add(block("dec", level, "in1", width, width, Sampling.KEEP, false));
      } else {
        decoder.add(block("dec", level, "up", width, width, Sampling.UP, false));
      }
      for (int i = 0; i <= config.blocks; i++) {
        int out = pyramid.width(level);
        int in = width + skips.pop();
        decoder.add(block("dec", level, "block" + i, in, out, Sampling.KEEP, attends(level)));
        width = out;
      }
    }
    headNorm = Norm.edm(PREFIX + "out_norm", width, EPS);
    int images = config.outputs * config.imageChannels;
    head = UNetBlock.Start.ADM.last(PREFIX + "out_conv", width, images, 3);
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
  public int augmentation() {
    return config.augmentation;
  }

  @Override
  public double labelDropout() {
    return config.labelDropout;
  }

  @Override
  public int bottleneckSide() {
    return pyramid.side(pyramid.coarsest());
  }

  @Override
  public int bottleneckChannels() {
    return pyramid.width(pyramid.coarsest());
  }

  @Override
  public void declare(Plan plan) {
    if (config.augmentation > 0) {
      augmentMap().declare(plan);
    }
    noiseMap(0).declare(plan);
    noiseMap(1).declare(plan);
    if (config.classes > 0) {
      labelMap().declare(plan);
    }
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
    return apply(tape, parameters, x, noise, labels, null, dropout);
  }

  @Override
  public Var apply(
      Tape tape,
      Parameters parameters,
      Var x,
      Var noise,
      @Nullable Var labels,
      @Nullable Var augmentation,
      @Nullable PhiloxKey dropout) {
    return apply(tape, parameters, x, noise, labels, augmentation, dropout, (name, output) -> {});
  }

  /// @param seen told the output of every block by its name
  Var apply(
      Tape tape,
      Parameters parameters,
      Var x,
      Var noise,
      @Nullable Var labels,
      @Nullable Var augmentation,
      @Nullable PhiloxKey dropout,
      BiConsumer<String, Var> seen) {
    Var emb = embed(tape, parameters, noise, labels, augmentation);
    Deque<Var> skips = new ArrayDeque<>();
    Var h = encode(tape, parameters, x, emb, dropout, skips, seen);
    int stream = encoder.size();
    for (UNetBlock block : decoder) {
      if (h.shape().last() != block.in()) {
        h = tape.apply(new Concat(3), h, skips.pop());
      }
      h = block.apply(tape, parameters, h, emb, dropout, stream++);
      seen.accept(block.name(), h);
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
    Var emb = embed(tape, parameters, noise, labels, null);
    return encode(tape, parameters, x, emb, dropout, new ArrayDeque<>(), (name, output) -> {});
  }

  @Override
  public List<FeatureMap> maps() {
    return pyramid.maps();
  }

  @Override
  public List<Var> features(
      Tape tape,
      Parameters parameters,
      Var x,
      Var noise,
      @Nullable Var labels,
      @Nullable PhiloxKey dropout) {
    Var emb = embed(tape, parameters, noise, labels, null);
    Deque<Var> skips = new ArrayDeque<>();
    encode(tape, parameters, x, emb, dropout, skips, (name, output) -> {});
    return FeatureMap.lastOfEveryLevel(skips);
  }

  private Var encode(
      Tape tape,
      Parameters parameters,
      Var x,
      Var emb,
      @Nullable PhiloxKey dropout,
      Deque<Var> skips,
      BiConsumer<String, Var> seen) {
    Var h = stem.apply(tape, parameters, x);
    seen.accept(stem.name(), h);
    skips.push(h);
    int stream = 0;
    for (UNetBlock block : encoder) {
      h = block.apply(tape, parameters, h, emb, dropout, stream++);
      seen.accept(block.name(), h);
      skips.push(h);
    }
    return h;
  }

  private Var embed(
      Tape tape,
      Parameters parameters,
      Var noise,
      @Nullable Var labels,
      @Nullable Var augmentation) {
    Var emb = tape.apply(new Sinusoid(config.channels, MAX_POSITIONS, false, false), noise);
    if (config.augmentation > 0 && augmentation != null) {
      emb = tape.apply(new Add(1, 1), emb, augmentMap().apply(tape, parameters, augmentation));
    }
    emb = silu(tape, noiseMap(0).apply(tape, parameters, emb));
    emb = noiseMap(1).apply(tape, parameters, emb);
    if (config.classes > 0 && labels != null) {
      emb = tape.apply(new Add(1, 1), emb, labelMap().apply(tape, parameters, labels));
    }
    return silu(tape, emb);
  }

  private static Var silu(Tape tape, Var x) {
    return tape.apply(new Activation(Activation.Kind.SILU, 0), x);
  }

  private UNetBlock block(
      String half, int level, String part, int in, int out, Sampling sampling, boolean attends) {
    return new UNetBlock(
        name(half, level, part),
        in,
        out,
        config.embeddingChannels(),
        sampling,
        BOX,
        attends ? out / HEAD_CHANNELS : 0,
        config.dropout,
        true,
        false,
        1,
        EPS,
        UNetBlock.Start.ADM);
  }

  private boolean attends(int level) {
    return config.attention.contains(pyramid.side(level));
  }

  private Dense labelMap() {
    return new Dense(
        PREFIX + "map_label",
        config.classes,
        config.embeddingChannels(),
        false,
        new Init.Normal(0, 1),
        new Init.Constant(0));
  }

  private Dense augmentMap() {
    Init zero = new Init.Constant(0);
    return new Dense(
        PREFIX + "map_augment", config.augmentation, config.channels, false, zero, zero);
  }

  private Dense noiseMap(int index) {
    int in = index == 0 ? config.channels : config.embeddingChannels();
    return Dense.plain(PREFIX + "map_layer" + index, in, config.embeddingChannels());
  }

  private String name(String half, int level, String part) {
    return PREFIX + pyramid.prefix(half, level) + part;
  }
}
