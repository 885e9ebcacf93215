package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Conv;
import io.retort.nn.Norm;
import io.retort.nn.Plan;
import io.retort.nn.ResampleConv.Sampling;
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

    int embeddingChannels() {
      return channels * embeddingWidth;
    }
  }

  private final Config config;
  private final Pyramid pyramid;
  private final EdmEmbedding embedding;
  private final Conv stem;
  private final List<UNetBlock> encoder = new ArrayList<>();
  private final List<UNetBlock> decoder = new ArrayList<>();
  private final Norm headNorm;
  private final Conv head;

  /// @throws ShapeException if widths do not fit the norms' groups or the attention's heads
  public DhariwalUNet(Config config) {
    this.config = config;
    pyramid = config.pyramid();
    embedding = EdmEmbedding.of(config);
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
    embedding.declare(plan);
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
    EdmPass pass = pass(tape, parameters, noise, labels, augmentation, dropout, seen);
    Var h = encode(pass, tape, parameters, x);
    for (UNetBlock block : decoder) {
      h = pass.decode(block, h);
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
    EdmPass pass = pass(tape, parameters, noise, labels, null, dropout, (name, output) -> {});
    return encode(pass, tape, parameters, x);
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
    EdmPass pass = pass(tape, parameters, noise, labels, null, dropout, (name, output) -> {});
    encode(pass, tape, parameters, x);
    return pass.lastOfEveryLevel();
  }

  private EdmPass pass(
      Tape tape,
      Parameters parameters,
      Var noise,
      @Nullable Var labels,
      @Nullable Var augmentation,
      @Nullable PhiloxKey dropout,
      BiConsumer<String, Var> seen) {
    Var features = tape.apply(new Sinusoid(config.channels, MAX_POSITIONS, false, false), noise);
    Var emb = embedding.apply(tape, parameters, features, labels, augmentation);
    return new EdmPass(tape, parameters, emb, dropout, seen);
  }

  private Var encode(EdmPass pass, Tape tape, Parameters parameters, Var x) {
    Var h = pass.keep(pass.seen(stem.name(), stem.apply(tape, parameters, x)));
    for (UNetBlock block : encoder) {
      h = pass.encode(block, h);
    }
    return h;
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

  private String name(String half, int level, String part) {
    return PREFIX + pyramid.prefix(half, level) + part;
  }
}
