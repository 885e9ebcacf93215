package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Conv;
import io.retort.nn.Norm;
import io.retort.nn.Plan;
import io.retort.op.Activation;
import io.retort.op.Affine;
import io.retort.op.Pool;
import io.retort.op.Reshape;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Shape;

/// One member of the embedding bank: an untrained ConvNet whose features the Embedding Loss
/// compares.
///
/// `[conv3x3, (instance norm), activation, 2x2 pool] x depth`, flattened and divided by
/// sqrt(dimension). Norm-free members see brightness and contrast, which instance-normalised ones
/// are blind to. Source: the ConvNet of Zhao & Bilen 2023 ("Dataset Condensation with Distribution
/// Matching"), section 3.
///
/// @param imageChannels channels of the images
/// @param width channels of every convolution
/// @param depth number of stages; each halves the side
/// @param normalised instance norm after each convolution
public record RandomConvNet(
    int imageChannels,
    int width,
    int depth,
    boolean normalised,
    Activation.Kind activation,
    Pool.Kind pool)
    implements Net {

  private static final double LEAK = 0.2;

  /// Which members a bank may draw.
  public enum Bank {
    NORM_FREE,
    INSTANCE,
    MIXED
  }

  /// The member a key draws: architecture from the key, and the same key initialises its weights.
  public static RandomConvNet draw(
      Bank bank, int imageChannels, int width, int maxDepth, PhiloxKey key) {
    Activation.Kind[] activations = {
      Activation.Kind.RELU, Activation.Kind.LEAKY_RELU, Activation.Kind.SILU
    };
    boolean normalised =
        switch (bank) {
          case NORM_FREE -> false;
          case INSTANCE -> true;
          case MIXED -> Philox.uniform(key, 0) < 0.5;
        };
    int depth = Math.min(maxDepth, 2 + (int) (2 * Philox.uniform(key, 1)));
    Activation.Kind activation = activations[(int) (activations.length * Philox.uniform(key, 2))];
    Pool.Kind pool = Philox.uniform(key, 3) < 0.5 ? Pool.Kind.AVG : Pool.Kind.MAX;
    return new RandomConvNet(imageChannels, width, depth, normalised, activation, pool);
  }

  @Override
  public void declare(Plan plan) {
    for (int i = 0; i < depth; i++) {
      conv(i).declare(plan);
      if (normalised) {
        norm(i).declare(plan);
      }
    }
  }

  /// Features `(N, D)` of images `(N, H, W, C)`.
  public Var apply(Tape tape, Parameters parameters, Var x) {
    Var h = x;
    for (int i = 0; i < depth; i++) {
      h = conv(i).apply(tape, parameters, h);
      h = normalised ? norm(i).apply(tape, parameters, h) : h;
      h = tape.apply(new Activation(activation, LEAK), h);
      h = tape.apply(new Pool(pool, 2, 2), h);
    }
    long samples = x.shape().dim(0);
    long dimension = h.shape().elements() / samples;
    Var flat = tape.apply(new Reshape(Shape.of(samples, dimension)), h);
    return tape.apply(new Affine(1 / Math.sqrt(dimension), 0), flat);
  }

  private Conv conv(int stage) {
    return Conv.plain("conv" + stage, stage == 0 ? imageChannels : width, width, 3, 1, 1);
  }

  private Norm norm(int stage) {
    return new Norm("norm" + stage, width, width, 1e-5);
  }
}
