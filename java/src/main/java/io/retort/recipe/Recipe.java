package io.retort.recipe;

import io.retort.distill.MethodKind;
import io.retort.distill.Methods;
import io.retort.optim.AverageSpec;
import io.retort.tensor.DType;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;

/// A run: what is trained, on what, with which numbers. Every field has a default; YAML keys are
/// the field names in snake case.
///
/// @param method name of one of [Methods#ALL]
/// @param data name of a data set, as `retort data list` prints it, or the path of one
/// @param seed of every random number, at least 0
/// @param steps length of the run
/// @param precision of the activations while training
/// @param network of a teacher; a student has its teacher's
/// @param average of the weights that are sampled with
/// @param save how often state and pictures are kept
/// @param evaluation what is measured at the end
/// @param sections the numbers of every method by its name, in a section of that name each; only
///   those of `method` matter
public record Recipe(
    String method,
    String data,
    long seed,
    long steps,
    Precision precision,
    Network network,
    AverageSpec average,
    Save save,
    Evaluation evaluation,
    SequencedMap<String, Record> sections) {

  public static final Recipe DEFAULT =
      new Recipe(
          "dmd2",
          "fashion-mnist-embedded",
          0,
          1100,
          Precision.BFLOAT16,
          Network.DEFAULT,
          new AverageSpec(20000, 0.05),
          Save.DEFAULT,
          Evaluation.DEFAULT,
          defaults());

  public Recipe {
    require(
        Methods.named(method).isPresent(),
        "method must be one of %s, got \"%s\""
            .formatted(String.join(", ", Methods.names()), method));
    require(!data.isBlank(), "data must name a data set");
    require(seed >= 0, "seed must be at least 0, got " + seed);
    require(steps >= 1, "steps must be at least 1, got " + steps);
    sections = Collections.unmodifiableSequencedMap(new LinkedHashMap<>(sections));
  }

  private static SequencedMap<String, Record> defaults() {
    SequencedMap<String, Record> defaults = new LinkedHashMap<>();
    Methods.ALL.forEach(kind -> defaults.put(kind.name(), kind.defaults()));
    return defaults;
  }

  private static void require(boolean fact, String sentence) {
    if (!fact) {
      throw new IllegalArgumentException(sentence);
    }
  }

  /// The method.
  public MethodKind<?> kind() {
    return Methods.named(method).orElseThrow();
  }

  /// The numbers of the method.
  public Record settings() {
    return section(method);
  }

  /// The numbers of a method, whether it is this run's or not.
  public <S extends Record> S settings(MethodKind<S> of) {
    return of.cast(section(of.name()));
  }

  private Record section(String name) {
    Record section = sections.get(name);
    if (section == null) {
      throw new IllegalArgumentException("recipe: there is no section " + name);
    }
    return section;
  }

  /// What activations are kept and multiplied in while training; weights, statistics, losses and
  /// sums are float32 in both.
  public enum Precision {
    FLOAT32(DType.F32),
    BFLOAT16(DType.BF16);

    private final DType compute;

    Precision(DType compute) {
      this.compute = compute;
    }

    public DType compute() {
      return compute;
    }
  }

  /// What a teacher's network looks like; resolution, channels and classes come from the data.
  ///
  /// @param kind whose network
  /// @param channels width of the first level; of the tokens of a DiT
  /// @param multipliers width of each level in units of `channels`; a DiT has no levels
  /// @param blocks residual blocks per level; blocks of a DiT
  /// @param attention sides of the levels with attention; a DiT attends everywhere
  /// @param heads of the attention of a DiT or UNet2D; EDM's networks have their own rule
  /// @param patch side of a DiT's patches
  /// @param dropout inside the blocks while training
  /// @param conditional whether it is told the class
  public record Network(
      Kind kind,
      int channels,
      List<Integer> multipliers,
      int blocks,
      List<Integer> attention,
      int heads,
      int patch,
      double dropout,
      boolean conditional) {
    public static final Network DEFAULT =
        new Network(Kind.SONG_UNET, 32, List.of(1, 2, 2), 1, List.of(7), 4, 2, 0, true);

    /// Whose network.
    public enum Kind {
      /// EDM's DDPM++.
      SONG_UNET,
      /// EDM's ADM.
      DHARIWAL_UNET,
      /// diffusers' UNet2DModel.
      UNET2D,
      /// diffusers' DiTTransformer2DModel.
      DIT
    }

    public Network {
      multipliers = List.copyOf(multipliers);
      attention = List.copyOf(attention);
      require(
          channels >= 4 && channels % 4 == 0 && channels <= 4096,
          "channels must be a multiple of 4, at most 4096, got " + channels);
      require(
          !multipliers.isEmpty()
              && multipliers.size() <= 8
              && multipliers.stream().allMatch(m -> m >= 1 && m <= 64),
          "multipliers must be 1 to 8 numbers from 1 to 64, got " + multipliers);
      require(heads >= 1 && heads <= 1024, "heads must be 1 to 1024, got " + heads);
      require(patch >= 1 && patch <= 1024, "patch must be 1 to 1024, got " + patch);
      require(blocks >= 1 && blocks <= 64, "blocks must be 1 to 64, got " + blocks);
      require(dropout >= 0 && dropout < 1, "dropout must be in [0, 1), got " + dropout);
    }
  }

  /// What a run leaves behind while it runs.
  ///
  /// @param every steps between checkpoints
  /// @param keep checkpoints kept
  /// @param samples steps between sample grids
  public record Save(long every, int keep, long samples) {
    public static final Save DEFAULT = new Save(500, 2, 250);

    public Save {
      require(every >= 1, "every must be at least 1, got " + every);
      require(keep >= 1, "keep must be at least 1, got " + keep);
      require(samples >= 1, "samples must be at least 1, got " + samples);
    }
  }

  /// What is measured at the end, and on the way there.
  ///
  /// @param count generated images per row, 0 for no evaluation
  /// @param every steps between measurements while the run trains, 0 for none
  /// @param teacherSteps sampling steps of the teacher (2N - 1 network evaluations)
  /// @param controls whether the student is distilled again without each of its terms, for
  ///   comparison
  public record Evaluation(int count, long every, int teacherSteps, boolean controls) {
    public static final Evaluation DEFAULT = new Evaluation(1000, 0, 18, false);

    public Evaluation {
      require(count == 0 || count >= 16, "count must be 0 or at least 16, got " + count);
      require(every >= 0, "every must be at least 0, got " + every);
      require(
          teacherSteps >= 1 && teacherSteps <= 10000,
          "teacher_steps must be 1 to 10000, got " + teacherSteps);
    }
  }
}
