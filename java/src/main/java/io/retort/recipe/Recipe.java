package io.retort.recipe;

import io.retort.net.RandomConvNet;
import io.retort.optim.AdamSpec;
import io.retort.optim.AverageSpec;
import io.retort.tensor.DType;
import java.util.List;

/// A run: what is trained, on what, with which numbers. Every field has a default; YAML keys are
/// the field names in snake case.
///
/// @param method edm (a teacher), dmd2 (a one-step student) or classifier (the metric net)
/// @param data name of a data set, as `retort data list` prints it, or the path of one
/// @param seed of every random number, at least 0
/// @param steps length of the run
/// @param precision of the activations while training
/// @param network of a teacher; a student has its teacher's
/// @param average of the weights that are sampled with
/// @param save how often state and pictures are kept
/// @param evaluation what is measured at the end
/// @param edm numbers of method edm
/// @param dmd2 numbers of method dmd2
/// @param classifier numbers of method classifier
public record Recipe(
    MethodName method,
    String data,
    long seed,
    long steps,
    Precision precision,
    Network network,
    AverageSpec average,
    Save save,
    Evaluation evaluation,
    Edm edm,
    Dmd2 dmd2,
    Classifier classifier) {

  public static final Recipe DEFAULT =
      new Recipe(
          MethodName.DMD2,
          "fashion-mnist-embedded",
          0,
          900,
          Precision.BFLOAT16,
          Network.DEFAULT,
          new AverageSpec(20000, 0.05),
          Save.DEFAULT,
          Evaluation.DEFAULT,
          Edm.DEFAULT,
          Dmd2.DEFAULT,
          Classifier.DEFAULT);

  public Recipe {
    require(!data.isBlank(), "data must name a data set");
    require(seed >= 0, "seed must be at least 0, got " + seed);
    require(steps >= 1, "steps must be at least 1, got " + steps);
  }

  private static void require(boolean fact, String sentence) {
    if (!fact) {
      throw new IllegalArgumentException(sentence);
    }
  }

  /// The methods a recipe can name.
  public enum MethodName {
    EDM,
    DMD2,
    CLASSIFIER
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

  /// A SongUNet; resolution, channels and classes come from the data.
  ///
  /// @param channels width of the first level
  /// @param multipliers width of each level in units of `channels`
  /// @param blocks residual blocks per level
  /// @param attention sides of the levels with attention
  /// @param dropout inside the blocks while training
  /// @param conditional whether it is told the class
  public record Network(
      int channels,
      List<Integer> multipliers,
      int blocks,
      List<Integer> attention,
      double dropout,
      boolean conditional) {
    public static final Network DEFAULT = new Network(32, List.of(1, 2, 2), 1, List.of(7), 0, true);

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

  /// Teacher training.
  ///
  /// @param batch images a step
  /// @param meanLog mean of ln sigma
  /// @param stdLog standard deviation of ln sigma
  public record Edm(
      int batch, double sigmaData, double meanLog, double stdLog, AdamSpec optimizer) {
    public static final Edm DEFAULT =
        new Edm(64, 0.5, -1.2, 1.2, new AdamSpec(1e-3, 0.9, 0.999, 1e-8, 0, 0, 500, 0));

    public Edm {
      require(batch >= 1, "batch must be at least 1, got " + batch);
      require(sigmaData > 0, "sigma_data must be above 0, got " + sigmaData);
      require(stdLog > 0, "std_log must be above 0, got " + stdLog);
    }
  }

  /// DMD2 with the Embedding Loss.
  ///
  /// @param teacher `builtin`, `train`, a run directory or a model file
  /// @param batch generated images a step
  /// @param realBatch real images a step
  /// @param criticSteps critic updates per student update
  /// @param sigmaMax noise level the student starts from
  /// @param distributionMatching weight of the score difference, 0 switches it off
  /// @param gan weight of the student's GAN loss, 0 switches the discriminator off
  /// @param criticGan weight of the discriminator's loss
  public record Dmd2(
      String teacher,
      int batch,
      int realBatch,
      int criticSteps,
      double sigmaMax,
      double distributionMatching,
      double gan,
      double criticGan,
      Embedding embedding,
      AdamSpec student,
      AdamSpec critic) {
    public static final Dmd2 DEFAULT =
        new Dmd2(
            "builtin",
            32,
            64,
            2,
            80,
            1,
            0,
            1e-2,
            Embedding.DEFAULT,
            new AdamSpec(3e-4, 0, 0.99, 1e-8, 0, 10, 20, 360),
            new AdamSpec(5e-4, 0, 0.99, 1e-8, 0, 10, 20, 360));

    public Dmd2 {
      require(!teacher.isBlank(), "teacher must be builtin, train, or a path");
      require(batch >= 1, "batch must be at least 1, got " + batch);
      require(realBatch >= batch, "real_batch must be at least batch, got " + realBatch);
      require(criticSteps >= 1, "critic_steps must be at least 1, got " + criticSteps);
      require(sigmaMax > 0, "sigma_max must be above 0, got " + sigmaMax);
      require(
          distributionMatching >= 0 && gan >= 0 && criticGan >= 0,
          "distribution_matching, gan and critic_gan must be at least 0");
      require(
          distributionMatching > 0 || gan > 0 || embedding.weight() > 0,
          "one of distribution_matching, gan and embedding.weight must be above 0");
    }
  }

  /// The Embedding Loss.
  ///
  /// @param weight 0 switches it off; if calibrated, the ratio of its gradient norm to the other
  ///   terms' at the start
  /// @param calibrated whether the weight is found from gradient norms
  /// @param bank which random networks may be drawn
  /// @param networks per step
  /// @param width channels of their convolutions
  /// @param depth most stages of one network
  /// @param kernel of the MMD
  /// @param unbiased leave self-pairs out
  public record Embedding(
      double weight,
      boolean calibrated,
      RandomConvNet.Bank bank,
      int networks,
      int width,
      int depth,
      Kernel kernel,
      boolean unbiased) {
    public static final Embedding DEFAULT =
        new Embedding(0.3, true, RandomConvNet.Bank.MIXED, 1, 64, 3, Kernel.RBF, true);

    public Embedding {
      require(weight >= 0, "weight must be at least 0, got " + weight);
      require(networks >= 1 && networks <= 4, "networks must be 1 to 4, got " + networks);
      require(width >= 1 && width <= 4096, "width must be 1 to 4096, got " + width);
      require(depth >= 1 && depth <= 8, "depth must be 1 to 8, got " + depth);
    }

    /// Kernels of the MMD with their standard numbers.
    public enum Kernel {
      LINEAR,
      RBF,
      POLYNOMIAL,
      ENERGY
    }
  }

  /// The metric net.
  public record Classifier(int batch, AdamSpec optimizer) {
    public static final Classifier DEFAULT =
        new Classifier(100, new AdamSpec(1e-3, 0.9, 0.999, 1e-8, 0, 0, 50, 500));

    public Classifier {
      require(batch >= 1, "batch must be at least 1, got " + batch);
    }
  }
}
