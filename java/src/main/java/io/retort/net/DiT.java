package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Conv;
import io.retort.nn.Dense;
import io.retort.nn.Init;
import io.retort.nn.Plan;
import io.retort.nn.SinCosPositions;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Shape;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// The diffusion transformer: patches of the image as tokens, blocks conditioned by adaLN-zero.
///
/// Parameter names and order are those of facebook's checkpoints or diffusers'
/// (`DiTTransformer2DModel`, once `Transformer2DModel`). Positions are fixed. A sample without a
/// class takes the table's last row. What a discriminator looks at is the map of tokens after half
/// of the blocks. Where the network also learned a variance, [#apply] drops it and [#full] returns
/// it. Source: Peebles & Xie 2023.
public final class DiT implements UNet {
  private static final double EPS = 1e-6;
  private static final String POSITIONS = "pos_embed";

  private final DiTConfig config;
  private final Conv patches;
  private final List<DiTBlock> blocks = new ArrayList<>();
  private final Dense lastModulation;
  private final Dense last;

  public DiT(DiTConfig config) {
    this.config = config;
    boolean original = config.original();
    int width = config.width();
    int patch = config.patch();
    patches =
        new Conv(
            original ? "x_embedder.proj" : "pos_embed.proj",
            config.imageChannels(),
            width,
            patch,
            patch,
            0,
            new Init.FanIn(1, (long) config.imageChannels() * patch * patch),
            new Init.Constant(0));
    for (int i = 0; i < config.depth(); i++) {
      blocks.add(new DiTBlock(config, i));
    }
    lastModulation =
        zero(original ? "final_layer.adaLN_modulation.1" : "proj_out_1", width, 2 * width);
    last =
        zero(
            original ? "final_layer.linear" : "proj_out_2",
            width,
            patch * patch * config.outputs());
  }

  private static Dense zero(String name, int in, int out) {
    return new Dense(name, in, out, true, new Init.Constant(0), new Init.Constant(0));
  }

  public DiTConfig config() {
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
  public boolean hasNullClass() {
    return config.hasNullClass();
  }

  @Override
  public double labelDropout() {
    return config.classDropout();
  }

  /// Patches along a side.
  @Override
  public int bottleneckSide() {
    return config.grid();
  }

  @Override
  public int bottleneckChannels() {
    return config.width();
  }

  @Override
  public void declare(Plan plan) {
    if (config.original()) {
      plan.add(
          POSITIONS,
          Shape.of(1, (long) config.grid() * config.grid(), config.width()),
          new SinCosPositions(config.grid()));
      patches.declare(plan);
      sharedEmbedding().declare(plan);
      blocks.forEach(block -> block.declare(plan));
      last.declare(plan);
      lastModulation.declare(plan);
    } else {
      patches.declare(plan);
      blocks.forEach(block -> block.declare(plan));
      lastModulation.declare(plan);
      last.declare(plan);
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
    return image(tokens(tape, parameters, x, noise, labels, dropout), config.imageChannels());
  }

  /// The prediction with the learned variance behind it, `(N, H, W, 2 C)`, where there is one.
  public Var full(
      Tape tape,
      Parameters parameters,
      Var x,
      Var noise,
      @Nullable Var labels,
      @Nullable PhiloxKey dropout) {
    return image(tokens(tape, parameters, x, noise, labels, dropout), config.outputs());
  }

  /// The tokens after half of the blocks as a map `(N, side, side, width)`.
  @Override
  public Var encode(
      Tape tape,
      Parameters parameters,
      Var x,
      Var noise,
      @Nullable Var labels,
      @Nullable PhiloxKey dropout) {
    var pass = new Pass(tape, parameters, x.shape().dim(0), noise, labels, dropout);
    Var h = embedded(tape, parameters, x);
    for (DiTBlock block : blocks.subList(0, (blocks.size() + 1) / 2)) {
      h = pass.through(block, h);
    }
    return h.reshape(x.shape().dim(0), config.grid(), config.grid(), config.width());
  }

  private Var tokens(
      Tape tape,
      Parameters parameters,
      Var x,
      Var noise,
      @Nullable Var labels,
      @Nullable PhiloxKey dropout) {
    var pass = new Pass(tape, parameters, x.shape().dim(0), noise, labels, dropout);
    Var h = embedded(tape, parameters, x);
    for (DiTBlock block : blocks) {
      h = pass.through(block, h);
    }
    Var[] parts =
        DiTBlock.split(
            lastModulation.apply(tape, parameters, pass.activated(blocks.getFirst())), 2);
    h = DiTBlock.modulate(pass.plain.apply(h, EPS), parts[0], parts[1]);
    return last.apply(tape, parameters, h);
  }

  /// Tokens `(N, T, width)` of an image, positions added.
  private Var embedded(Tape tape, Parameters parameters, Var x) {
    long count = (long) config.grid() * config.grid();
    Var h = patches.apply(tape, parameters, x).reshape(x.shape().dim(0), count, config.width());
    Var positions =
        config.original()
            ? tape.use(parameters.get(POSITIONS)).detach()
            : tape.constant(
                Shape.of(1, count, config.width()),
                SinCosPositions.table(config.grid(), config.width()));
    return h.addBroadcast(positions);
  }

  /// An image of the first `channels` channels of patches `(N, T, patch patch outputs)`.
  private Var image(Var patched, int channels) {
    long samples = patched.shape().dim(0);
    long grid = config.grid();
    long patch = config.patch();
    Var split = patched.reshape(samples, grid, grid, patch, patch, config.outputs());
    Var kept = channels == config.outputs() ? split : split.slice(5, 0, channels);
    return kept.permute(0, 1, 3, 2, 4, 5)
        .reshape(samples, config.resolution(), config.resolution(), channels);
  }

  private DiTEmbedding sharedEmbedding() {
    return DiTEmbedding.original(config.width(), config.classes(), config.hasNullClass());
  }

  /// What one pass through the blocks shares.
  private final class Pass {
    private final Tape tape;
    private final Parameters parameters;
    private final Var waves;
    private final Var choice;
    private final PlainNorm plain;
    private final DropoutKeys keys;
    private @Nullable Var shared;

    Pass(
        Tape tape,
        Parameters parameters,
        long samples,
        Var noise,
        @Nullable Var labels,
        @Nullable PhiloxKey dropout) {
      this.tape = tape;
      this.parameters = parameters;
      DiTEmbedding embedding = embedding(blocks.getFirst());
      waves = embedding.waves(tape, noise);
      choice = embedding.choice(tape, samples, labels);
      plain = PlainNorm.of(tape, config.width());
      keys = new DropoutKeys(dropout);
    }

    Var through(DiTBlock block, Var h) {
      return block.apply(tape, parameters, h, activated(block), plain, keys);
    }

    /// SiLU of the condition of a block; all blocks' where there is one, and the first block's is
    /// the last layer's too.
    Var activated(DiTBlock block) {
      boolean first = block == blocks.getFirst();
      if (shared != null && (first || config.original())) {
        return shared;
      }
      Var condition = embedding(block).apply(tape, parameters, waves, choice).silu();
      if (first) {
        shared = condition;
      }
      return condition;
    }

    private DiTEmbedding embedding(DiTBlock block) {
      return config.original() ? sharedEmbedding() : block.embedding();
    }
  }
}
