package io.retort.net;

import static java.util.Objects.requireNonNull;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Conv;
import io.retort.nn.Init;
import io.retort.nn.Norm;
import io.retort.nn.Plan;
import io.retort.nn.ResampleConv;
import io.retort.nn.ResampleConv.Sampling;
import io.retort.op.Fourier;
import io.retort.op.Sinusoid;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;

/// The U-Nets of Song et al. as EDM configures them: DDPM++ (`ddpmpp`), NCSN++ (`ncsnpp`) and what
/// lies between, see [SongVariant].
///
/// Parameter names and order are EDM's, with the prefix `model.` of its preconditioning wrapper;
/// the Fourier embedding's frequencies are a parameter without gradient. Source: Song et al. 2021,
/// appendix; EDM, Karras et al. 2022, appendix F.
public final class SongUNet implements UNet {
  private static final String PREFIX = "model.";
  private static final String FREQUENCIES = PREFIX + "map_noise.freqs";
  private static final double FREQUENCY_SCALE = 16;
  private static final double EPS = 1e-6;
  private static final double MAX_POSITIONS = 10000;
  private static final double ROOT_HALF = Math.sqrt(0.5);

  /// A part of the encoder, in EDM's order. What is not a block works on the auxiliary image, which
  /// starts as the input.
  private sealed interface EncoderPart {}

  /// A part of the decoder, in EDM's order.
  private sealed interface DecoderPart {}

  private record Block(UNetBlock block) implements EncoderPart, DecoderPart {}

  /// The auxiliary image at half its size.
  private record Shrink(ResampleConv resample) implements EncoderPart {}

  /// Adds the projected auxiliary image to the features.
  private record Inject(Conv conv) implements EncoderPart {}

  /// The mean of features and shrunk auxiliary features, times root 2, is both from here on.
  private record Residual(ResampleConv conv) implements EncoderPart {}

  /// The image made so far at twice its size.
  private record Enlarge(ResampleConv resample) implements DecoderPart {}

  /// Adds this level's image to the image made so far.
  private record Output(Norm norm, Conv conv) implements DecoderPart {}

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
  /// @param variant what distinguishes DDPM++, NCSN++ and their relatives
  public record Config(
      int resolution,
      int imageChannels,
      int classes,
      int channels,
      List<Integer> multipliers,
      int blocks,
      List<Integer> attention,
      double dropout,
      int augmentation,
      SongVariant variant) {

    /// DDPM++.
    public Config(
        int resolution,
        int imageChannels,
        int classes,
        int channels,
        List<Integer> multipliers,
        int blocks,
        List<Integer> attention,
        double dropout,
        int augmentation) {
      this(
          resolution,
          imageChannels,
          classes,
          channels,
          multipliers,
          blocks,
          attention,
          dropout,
          augmentation,
          SongVariant.DDPMPP);
    }

    public Config {
      multipliers = List.copyOf(multipliers);
      attention = List.copyOf(attention);
      int noiseChannels = channels * variant.noiseWidth();
      if (blocks < 1 || imageChannels < 1 || classes < 0 || augmentation < 0) {
        throw new ShapeException(
            "unet: blocks and image channels must be at least 1, classes and augmentation not"
                + " negative, got %d, %d, %d, %d"
                    .formatted(blocks, imageChannels, classes, augmentation));
      }
      if (noiseChannels < 4 || noiseChannels % 2 != 0) {
        throw new ShapeException(
            "unet: channels times the width of the noise embedding must be even and at least 4, got"
                + " "
                + noiseChannels);
      }
    }

    /// The same network with a first level of another width, and all others in proportion.
    public Config ofWidth(int width) {
      return new Config(
          resolution,
          imageChannels,
          classes,
          width,
          multipliers,
          blocks,
          attention,
          dropout,
          augmentation,
          variant);
    }

    /// The same network, told a row of `length` numbers with every image.
    public Config told(int length) {
      return new Config(
          resolution,
          imageChannels,
          classes,
          channels,
          multipliers,
          blocks,
          attention,
          dropout,
          length,
          variant);
    }

    Pyramid pyramid() {
      return new Pyramid(resolution, channels, multipliers);
    }

    int noiseChannels() {
      return channels * variant.noiseWidth();
    }

    int embeddingChannels() {
      return channels * variant.embeddingWidth();
    }
  }

  private final Config config;
  private final Pyramid pyramid;
  private final EdmEmbedding embedding;
  private final Conv stem;
  private final List<EncoderPart> encoder = new ArrayList<>();
  private final List<DecoderPart> decoder = new ArrayList<>();

  /// @throws io.retort.tensor.ShapeException if widths do not fit the norms' groups
  public SongUNet(Config config) {
    this.config = config;
    pyramid = config.pyramid();
    embedding = EdmEmbedding.of(config);
    Deque<Integer> skips = new ArrayDeque<>();
    stem = Conv.same(name("enc", 0, "conv"), config.imageChannels(), config.channels(), 3, 1);
    skips.push(config.channels());
    int width = buildEncoder(skips);
    buildDecoder(width, skips);
  }

  private int buildEncoder(Deque<Integer> skips) {
    int width = config.channels();
    int auxiliary = config.imageChannels();
    for (int level = 0; level < pyramid.levels(); level++) {
      if (level > 0) {
        encoder.add(block("enc", level, "down", width, width, Sampling.DOWN, false));
        skips.push(width);
        switch (config.variant().encoder()) {
          case STANDARD -> {}
          case SKIP -> {
            encoder.add(
                new Shrink(resample(name("enc", level, "aux_down"), auxiliary, Sampling.DOWN)));
            encoder.add(
                new Inject(Conv.same(name("enc", level, "aux_skip"), auxiliary, width, 1, 1)));
          }
          case RESIDUAL -> {
            String name = name("enc", level, "aux_residual");
            encoder.add(
                new Residual(
                    new ResampleConv(
                        name,
                        auxiliary,
                        width,
                        3,
                        Sampling.DOWN,
                        config.variant().filter(),
                        true,
                        1)));
            auxiliary = width;
          }
        }
      }
      for (int i = 0; i < config.blocks(); i++) {
        int out = pyramid.width(level);
        encoder.add(block("enc", level, "block" + i, width, out, Sampling.KEEP, attends(level)));
        width = out;
        skips.push(width);
      }
    }
    return width;
  }

  private void buildDecoder(int encoded, Deque<Integer> skips) {
    int width = encoded;
    int images = config.variant().outputs() * config.imageChannels();
    for (int level = pyramid.coarsest(); level >= 0; level--) {
      if (level == pyramid.coarsest()) {
        decoder.add(block("dec", level, "in0", width, width, Sampling.KEEP, true));
        decoder.add(block("dec", level, "in1", width, width, Sampling.KEEP, false));
      } else {
        decoder.add(block("dec", level, "up", width, width, Sampling.UP, false));
      }
      for (int i = 0; i <= config.blocks(); i++) {
        int out = pyramid.width(level);
        boolean attends = i == config.blocks() && attends(level);
        decoder.add(
            block("dec", level, "block" + i, width + skips.pop(), out, Sampling.KEEP, attends));
        width = out;
      }
      boolean everyLevel = config.variant().decoder() == SongVariant.Decoder.SKIP;
      if (everyLevel && level < pyramid.coarsest()) {
        decoder.add(new Enlarge(resample(name("dec", level, "aux_up"), images, Sampling.UP)));
      }
      if (everyLevel || level == 0) {
        decoder.add(
            new Output(
                Norm.edm(name("dec", level, "aux_norm"), width, EPS),
                UNetBlock.Start.SONG.last(name("dec", level, "aux_conv"), width, images, 3)));
      }
    }
  }

  public Config config() {
    return config;
  }

  @Override
  public int resolution() {
    return config.resolution();
  }

  @Override
  public int imageChannels() {
    return config.imageChannels();
  }

  @Override
  public int classes() {
    return config.classes();
  }

  @Override
  public int augmentation() {
    return config.augmentation();
  }

  @Override
  public double labelDropout() {
    return config.variant().labelDropout();
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
    if (config.variant().embedding() == SongVariant.Embedding.FOURIER) {
      plan.add(
          FREQUENCIES, Shape.of(config.noiseChannels() / 2), new Init.Normal(0, FREQUENCY_SCALE));
    }
    embedding.declare(plan);
    stem.declare(plan);
    for (EncoderPart part : encoder) {
      switch (part) {
        case Block(UNetBlock block) -> block.declare(plan);
        case Inject(Conv conv) -> conv.declare(plan);
        case Residual(ResampleConv conv) -> conv.declare(plan);
        case Shrink _ -> {}
      }
    }
    for (DecoderPart part : decoder) {
      switch (part) {
        case Block(UNetBlock block) -> block.declare(plan);
        case Output(Norm norm, Conv conv) -> {
          norm.declare(plan);
          conv.declare(plan);
        }
        case Enlarge _ -> {}
      }
    }
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

  /// @param seen told the output of every part by its name, with SiLU where the network fuses it
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
    @Nullable Var image = null;
    for (DecoderPart part : decoder) {
      switch (part) {
        case Block(UNetBlock block) -> h = pass.decode(block, h);
        case Enlarge(ResampleConv resample) ->
            image = resample.apply(tape, parameters, requireNonNull(image));
        case Output(Norm norm, Conv conv) -> {
          Var normed = pass.seen(norm.name(), norm.silu(tape, parameters, h));
          Var made = pass.seen(conv.name(), conv.apply(tape, parameters, normed));
          image = image == null ? made : made.add(image);
        }
      }
    }
    return requireNonNull(image);
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
    Var features =
        switch (config.variant().embedding()) {
          case POSITIONAL ->
              tape.apply(new Sinusoid(config.noiseChannels(), MAX_POSITIONS, true, true), noise);
          case FOURIER -> fourier(tape, parameters, noise);
        };
    Var emb = embedding.apply(tape, parameters, features, labels, augmentation);
    return new EdmPass(tape, parameters, emb, dropout, seen);
  }

  private Var encode(EdmPass pass, Tape tape, Parameters parameters, Var x) {
    Var h = pass.keep(pass.seen(stem.name(), stem.apply(tape, parameters, x)));
    Var auxiliary = x;
    for (EncoderPart part : encoder) {
      switch (part) {
        case Block(UNetBlock block) -> h = pass.encode(block, h);
        case Shrink(ResampleConv resample) ->
            auxiliary = resample.apply(tape, parameters, auxiliary);
        case Inject(Conv conv) ->
            h = pass.keepInstead(h.add(conv.apply(tape, parameters, auxiliary)));
        case Residual(ResampleConv conv) -> {
          Var shrunk = pass.seen(conv.name(), conv.apply(tape, parameters, auxiliary));
          h = pass.keepInstead(h.add(ROOT_HALF, shrunk, ROOT_HALF));
          auxiliary = h;
        }
      }
    }
    return h;
  }

  /// The op puts cosines first, these networks sines.
  private Var fourier(Tape tape, Parameters parameters, Var noise) {
    Var waves =
        tape.apply(new Fourier(), noise, tape.constant(parameters.get(FREQUENCIES).value()));
    int half = config.noiseChannels() / 2;
    return Var.concat(1, waves.slice(1, half, 2L * half), waves.slice(1, 0, half));
  }

  private Block block(
      String half, int level, String part, int in, int out, Sampling sampling, boolean attends) {
    return new Block(
        new UNetBlock(
            name(half, level, part),
            in,
            out,
            config.embeddingChannels(),
            sampling,
            config.variant().filter(),
            attends ? 1 : 0,
            config.dropout(),
            false,
            true,
            ROOT_HALF,
            EPS,
            UNetBlock.Start.SONG));
  }

  private ResampleConv resample(String name, int channels, Sampling sampling) {
    return new ResampleConv(
        name, channels, channels, 0, sampling, config.variant().filter(), false, 1);
  }

  private boolean attends(int level) {
    return config.attention().contains(pyramid.side(level));
  }

  private String name(String half, int level, String part) {
    return PREFIX + pyramid.prefix(half, level) + part;
  }
}
