package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.UNet2DConfig.Middle;
import io.retort.net.UNet2DEncoder.State;
import io.retort.nn.Conv;
import io.retort.nn.Init;
import io.retort.nn.Norm;
import io.retort.nn.Plan;
import io.retort.nn.ResampleConv.Sampling;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Shape;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// diffusers' `UNet2DModel`: the U-Net of DDPM and of score-based models in its many
/// configurations.
///
/// Parameter names and order are those of diffusers' state dicts (attention as `to_q`, `to_k`,
/// `to_v`, `to_out.0`; older files are renamed while they are read). The timestep is a real number;
/// a label that is a row of zeros adds nothing. Source: Ho et al. 2020; Song et al. 2021 for levels
/// with a skipping image; Dhariwal & Nichol 2021 for scale and shift.
public final class UNet2D implements UNet {
  private static final double FREQUENCY_DEVIATION = 16;

  private final UNet2DConfig config;
  private final Conv stem;
  private final TimestepMlp timeMlp;
  private final List<UNet2DEncoder> encoder = new ArrayList<>();
  private final List<UNet2DDecoder> decoder = new ArrayList<>();
  private final List<ResnetBlock> middle = new ArrayList<>();
  private final @Nullable SpatialAttention middleAttention;
  private final Norm headNorm;
  private final Conv head;

  public UNet2D(UNet2DConfig config) {
    this.config = config;
    int first = config.channels().getFirst();
    stem = Conv.plain("conv_in", config.imageChannels(), first, 3, 1, 1);
    timeMlp = TimestepMlp.diffusers("time_embedding", features(), config.time().width());
    int width = first;
    for (int i = 0; i < config.channels().size(); i++) {
      encoder.add(new UNet2DEncoder(config, i, width));
      decoder.add(new UNet2DDecoder(config, i));
      width = config.channels().get(i);
    }
    Middle between = config.middle();
    for (int i = 0; i < 2 && between.present(); i++) {
      middle.add(middleBlock(i, width));
    }
    middleAttention =
        between.present() && between.attention()
            ? new SpatialAttention(
                "mid_block.attentions.0",
                width,
                config.headWidthOf(width),
                config.middleAttentionGroups(),
                config.eps(),
                between.divisor())
            : null;
    headNorm = new Norm("conv_norm_out", first, config.groupsOf(first), config.eps());
    head = Conv.plain("conv_out", first, outputs(), 3, 1, 1);
  }

  private ResnetBlock middleBlock(int index, int width) {
    return new ResnetBlock(
        "mid_block.resnets." + index,
        width,
        width,
        config.time().width(),
        config.groupsOf(width),
        config.groupsOf(width),
        config.eps(),
        config.dropout(),
        config.scaleShift(),
        config.middle().divisor(),
        Sampling.KEEP,
        UNet2DEncoder.BOX,
        false);
  }

  public UNet2DConfig config() {
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
    return config.classes().count();
  }

  /// The ecosystem's are trained with a class for every image.
  @Override
  public boolean hasNullClass() {
    return false;
  }

  @Override
  public int bottleneckSide() {
    return config.resolution() >> (config.channels().size() - 1);
  }

  @Override
  public int bottleneckChannels() {
    return config.channels().getLast();
  }

  @Override
  public void declare(Plan plan) {
    stem.declare(plan);
    if (config.time().fourier()) {
      plan.add(
          "time_proj.weight",
          Shape.of(config.channels().getFirst()),
          new Init.Normal(0, FREQUENCY_DEVIATION));
    }
    timeMlp.declare(plan);
    switch (config.classes().kind()) {
      case NONE, IDENTITY -> {}
      case TABLE ->
          plan.add(
              "class_embedding.weight",
              Shape.of(classes(), config.time().width()),
              new Init.Normal(0, 1));
      case TIMESTEP -> classMlp().declare(plan);
    }
    encoder.forEach(level -> level.declare(plan));
    decoder.forEach(level -> level.declare(plan));
    if (middleAttention != null) {
      middleAttention.declare(plan);
    }
    middle.forEach(block -> block.declare(plan));
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
    Var activated = embed(tape, parameters, noise, labels).silu();
    DropoutKeys keys = new DropoutKeys(dropout);
    Deque<Var> skips = new ArrayDeque<>();
    Var h = bottleneck(tape, parameters, x, activated, keys, skips);
    State state = new State(h, null);
    for (UNet2DDecoder level : decoder) {
      state = level.apply(tape, parameters, state, activated, keys, skips);
    }
    Var y = head.apply(tape, parameters, headNorm.silu(tape, parameters, state.features()));
    Var image = state.image();
    y = image == null ? y : y.add(image);
    if (config.learnedVariance()) {
      y = y.slice(3, 0, config.imageChannels());
    }
    return config.time().fourier() ? y.mulBroadcast(reciprocal(noise)) : y;
  }

  /// The features after the middle block.
  @Override
  public Var encode(
      Tape tape,
      Parameters parameters,
      Var x,
      Var noise,
      @Nullable Var labels,
      @Nullable PhiloxKey dropout) {
    Var activated = embed(tape, parameters, noise, labels).silu();
    return bottleneck(tape, parameters, x, activated, new DropoutKeys(dropout), new ArrayDeque<>());
  }

  private Var bottleneck(
      Tape tape, Parameters parameters, Var x, Var activated, DropoutKeys keys, Deque<Var> skips) {
    Var image = config.centred() ? x.affine(2, -1) : x;
    State state = new State(stem.apply(tape, parameters, image), image);
    skips.push(state.features());
    for (UNet2DEncoder level : encoder) {
      state = level.apply(tape, parameters, state, activated, keys, skips);
    }
    Var h = state.features();
    for (ResnetBlock block : middle) {
      boolean second = block == middle.getLast();
      h = second && middleAttention != null ? middleAttention.apply(tape, parameters, h) : h;
      h = block.apply(tape, parameters, h, activated, keys.next());
    }
    return h;
  }

  private Var embed(Tape tape, Parameters parameters, Var noise, @Nullable Var labels) {
    Var emb = timeMlp.apply(tape, parameters, timeFeatures(tape, parameters, noise));
    if (labels == null) {
      return emb;
    }
    return switch (config.classes().kind()) {
      case NONE -> emb;
      case IDENTITY -> emb.add(labels);
      case TABLE -> emb.add(labels.matmul(tape.use(parameters.get("class_embedding.weight"))));
      case TIMESTEP -> {
        long samples = labels.shape().dim(0);
        Var numbers = labels.matmul(ascending(tape)).reshape(samples);
        Var classes = classMlp().apply(tape, parameters, timeFeatures(tape, parameters, numbers));
        yield emb.add(classes.mulBroadcast(labels.sum(1).reshape(samples, 1)));
      }
    };
  }

  /// The column 0, 1, 2, ... that turns one-hot rows into numbers.
  private Var ascending(Tape tape) {
    float[] numbers = new float[classes()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = i;
    }
    return tape.constant(Shape.of(numbers.length, 1), numbers);
  }

  private Var timeFeatures(Tape tape, Parameters parameters, Var numbers) {
    int width = config.channels().getFirst();
    if (!config.time().fourier()) {
      return new TimestepWaves(width, config.time().shift(), config.time().cosinesFirst())
          .apply(tape, numbers);
    }
    Var frequencies = tape.use(parameters.get("time_proj.weight")).detach();
    Var waves = numbers.log().fourier(frequencies);
    return Var.concat(1, waves.slice(1, width, 2L * width), waves.slice(1, 0, width));
  }

  /// `1 / noise`, one for each image.
  private static Var reciprocal(Var noise) {
    return noise.log().scale(-1).exp().reshape(noise.shape().dim(0), 1, 1, 1);
  }

  private int features() {
    int width = config.channels().getFirst();
    return config.time().fourier() ? 2 * width : width;
  }

  private int outputs() {
    return config.learnedVariance() ? 2 * config.imageChannels() : config.imageChannels();
  }

  private TimestepMlp classMlp() {
    return TimestepMlp.diffusers("class_embedding", features(), config.time().width());
  }
}
