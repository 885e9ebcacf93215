package io.retort.recipe;

import io.retort.net.RandomConvNet;
import java.util.List;

/// A run: what is trained, on what, with which numbers. Every field has a default; YAML keys are the field names in
/// snake case.
///
/// @param method edm (a teacher), dmd2 (a one-step student) or classifier (the metric net)
/// @param data name of a data set, as `retort data list` prints it
/// @param seed of every random number, at least 0
/// @param steps length of the run
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
    Network network,
    Average average,
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
          1000,
          Network.DEFAULT,
          Average.DEFAULT,
          Save.DEFAULT,
          Evaluation.DEFAULT,
          Edm.DEFAULT,
          Dmd2.DEFAULT,
          Classifier.DEFAULT);

  /// The methods a recipe can name.
  public enum MethodName {
    EDM,
    DMD2,
    CLASSIFIER
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
    public static final Network DEFAULT =
        new Network(32, List.of(1, 2, 2), 1, List.of(7), 0, true);
  }

  /// Running average of weights.
  ///
  /// @param halfLife images after which old weights count half
  /// @param ramp largest half-life as a fraction of the images seen
  public record Average(double halfLife, double ramp) {
    public static final Average DEFAULT = new Average(20000, 0.05);
  }

  /// What a run leaves behind while it runs.
  ///
  /// @param every steps between checkpoints
  /// @param keep checkpoints kept
  /// @param samples steps between sample grids
  public record Save(long every, int keep, long samples) {
    public static final Save DEFAULT = new Save(500, 2, 250);
  }

  /// What is measured at the end.
  ///
  /// @param count generated images per row, 0 for no evaluation
  /// @param teacherSteps sampling steps of the teacher (2N - 1 network evaluations)
  public record Evaluation(int count, int teacherSteps) {
    public static final Evaluation DEFAULT = new Evaluation(2000, 18);
  }

  /// Adam for one or several networks.
  public record Optimizer(
      double lr,
      double beta1,
      double beta2,
      double eps,
      double decay,
      double clip,
      long warmup,
      long cooldown) {}

  /// Teacher training.
  ///
  /// @param batch images a step
  /// @param meanLog mean of ln sigma
  /// @param stdLog standard deviation of ln sigma
  public record Edm(
      int batch, double sigmaData, double meanLog, double stdLog, Optimizer optimizer) {
    public static final Edm DEFAULT =
        new Edm(64, 0.5, -1.2, 1.2, new Optimizer(1e-3, 0.9, 0.999, 1e-8, 0, 0, 500, 0));
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
      Optimizer student,
      Optimizer critic) {
    public static final Dmd2 DEFAULT =
        new Dmd2(
            "builtin",
            32,
            64,
            2,
            80,
            1,
            1e-2,
            3e-2,
            Embedding.DEFAULT,
            new Optimizer(3e-4, 0, 0.99, 1e-8, 0, 10, 20, 0),
            new Optimizer(5e-4, 0, 0.99, 1e-8, 0, 10, 20, 0));
  }

  /// The Embedding Loss.
  ///
  /// @param weight 0 switches it off; if calibrated, the ratio of its gradient norm to the other terms' at the start
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
        new Embedding(1, true, RandomConvNet.Bank.MIXED, 1, 64, 3, Kernel.RBF, true);

    /// Kernels of the MMD with their standard numbers.
    public enum Kernel {
      LINEAR,
      RBF,
      POLYNOMIAL,
      ENERGY
    }
  }

  /// The metric net.
  public record Classifier(int batch, Optimizer optimizer) {
    public static final Classifier DEFAULT =
        new Classifier(100, new Optimizer(1e-3, 0.9, 0.999, 1e-8, 0, 0, 50, 500));
  }
}
