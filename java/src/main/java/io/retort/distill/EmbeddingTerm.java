package io.retort.distill;

import io.retort.data.Batch;
import io.retort.grad.Var;
import io.retort.net.RandomConvNet;
import io.retort.op.MmdKernel;
import io.retort.tensor.PhiloxKey.Purpose;
import java.util.Map;

/// The Embedding Loss as one term of a method's student.
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
public record EmbeddingTerm(
    double weight,
    boolean calibrated,
    RandomConvNet.Bank bank,
    int networks,
    int width,
    int depth,
    Kernel kernel,
    boolean unbiased) {

  public static final EmbeddingTerm DEFAULT =
      new EmbeddingTerm(0.3, true, RandomConvNet.Bank.MIXED, 1, 64, 3, Kernel.RBF, true);

  /// The default with the term switched off.
  public static final EmbeddingTerm OFF = DEFAULT.weighing(0);

  /// Name of the term, and of its calibrated weight.
  private static final String NAME = "embedding";

  private static final String CALIBRATED_WEIGHT = "embedding_weight";

  public EmbeddingTerm {
    require(weight >= 0, "weight must be at least 0, got " + weight);
    require(networks >= 1 && networks <= 4, "networks must be 1 to 4, got " + networks);
    require(width >= 1 && width <= 4096, "width must be 1 to 4096, got " + width);
    require(depth >= 1 && depth <= 8, "depth must be 1 to 8, got " + depth);
  }

  private static void require(boolean fact, String sentence) {
    if (!fact) {
      throw new IllegalArgumentException(sentence);
    }
  }

  /// Kernels of the MMD with their standard numbers. Features are divided by the root of their
  /// dimension already, so the polynomial's scale is 1.
  public enum Kernel {
    LINEAR(new MmdKernel.Linear()),
    RBF(MmdKernel.Rbf.standard()),
    POLYNOMIAL(new MmdKernel.Polynomial(3, 1, 1)),
    ENERGY(new MmdKernel.Energy());

    private final MmdKernel mmd;

    Kernel(MmdKernel mmd) {
      this.mmd = mmd;
    }
  }

  private EmbeddingTerm weighing(double other) {
    return new EmbeddingTerm(other, calibrated, bank, networks, width, depth, kernel, unbiased);
  }

  boolean on() {
    return weight > 0;
  }

  /// Adds the term to a student's, against all real images of the batch; nothing if it is switched
  /// off.
  void addTo(WeightedSum sum, Nets nets, Var x, Batch real, Noise noise) {
    if (on()) {
      sum.add(
          NAME, calibrated ? nets.calibrated(CALIBRATED_WEIGHT) : weight, at(nets, x, real, noise));
    }
  }

  private Var at(Nets nets, Var x, Batch real, Noise noise) {
    EmbeddingLoss loss = new EmbeddingLoss(bank, networks, width, depth, kernel.mmd, unbiased);
    Var reals = nets.input(nets.images(real, real.count()));
    return loss.compute(nets.input(x), reals, noise.key(Purpose.EMBEDDING));
  }

  /// The weight that makes the term's gradient `weight` times as long as another term's, both with
  /// respect to the student's images x; empty if it is not asked for.
  Map<String, Double> calibrate(Nets nets, Var x, Batch real, Noise noise, Calibration.Term other) {
    return on() && calibrated
        ? calibrate(nets, x, real, noise, Calibration.gradientNorm(nets, x, other))
        : Map.of();
  }

  /// The same against a gradient of this length.
  Map<String, Double> calibrate(Nets nets, Var x, Batch real, Noise noise, double other) {
    if (!on() || !calibrated) {
      return Map.of();
    }
    double ours = Calibration.gradientNorm(nets, x, (on, images) -> at(on, images, real, noise));
    return Map.of(CALIBRATED_WEIGHT, weight * other / ours);
  }
}
