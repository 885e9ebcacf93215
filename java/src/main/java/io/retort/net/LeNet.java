package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Conv;
import io.retort.nn.Dense;
import io.retort.nn.Plan;
import io.retort.op.Activation;
import io.retort.op.Permute;
import io.retort.op.Pool;
import io.retort.op.Reshape;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import java.util.List;

/// The small classifier whose features measure image sets: conv5x5x32, ReLU, max-pool 2,
/// conv5x5x64, ReLU, max-pool 2, linear to 128 (the features, before their ReLU), ReLU, linear to
/// the classes.
///
/// Valid convolutions on square images in [-1, 1] whose side is a multiple of 4. Source: after
/// LeCun et al. 1998; names as in the golden file.
///
/// @param side of the images, see [#accepts]
public record LeNet(int side, int imageChannels, int classes) implements Net {
  /// Length of the feature vector.
  public static final int FEATURES = 128;

  private static final int LEAST_SIDE = 16;
  private static final int MOST_SIDE = 128;

  public LeNet {
    if (!accepts(side, side)) {
      throw new ShapeException("lenet: images must be " + accepted() + ", got side " + side);
    }
  }

  /// Whether images of this size can be classified.
  public static boolean accepts(int height, int width) {
    return height == width && height % 4 == 0 && height >= LEAST_SIDE && height <= MOST_SIDE;
  }

  /// Which images those are, in words.
  public static String accepted() {
    return "square, of a side that is a multiple of 4 from %d to %d"
        .formatted(LEAST_SIDE, MOST_SIDE);
  }

  /// The network whose first linear layer has `inputs` inputs.
  public static LeNet of(long inputs, int imageChannels, int classes) {
    return new LeNet(4 * (int) Math.round(Math.sqrt(inputs / 64.0)) + 12, imageChannels, classes);
  }

  private int flat() {
    int last = side / 4 - 3;
    return 64 * last * last;
  }

  @Override
  public void declare(Plan plan) {
    conv1().declare(plan);
    conv2().declare(plan);
    fc1().declare(plan);
    fc2().declare(plan);
  }

  /// The 128 pre-ReLU features of images `(N, side, side, C)`.
  public Var features(Tape tape, Parameters parameters, Var x) {
    Var h = pool(tape, relu(tape, conv1().apply(tape, parameters, x)));
    h = pool(tape, relu(tape, conv2().apply(tape, parameters, h)));
    h = tape.apply(new Permute(List.of(0, 3, 1, 2)), h);
    h = tape.apply(new Reshape(Shape.of(x.shape().dim(0), flat())), h);
    return fc1().apply(tape, parameters, h);
  }

  /// Class scores `(N, classes)` from features.
  public Var logits(Tape tape, Parameters parameters, Var features) {
    return fc2().apply(tape, parameters, relu(tape, features));
  }

  private static Var relu(Tape tape, Var x) {
    return tape.apply(new Activation(Activation.Kind.RELU, 0), x);
  }

  private static Var pool(Tape tape, Var x) {
    return tape.apply(new Pool(Pool.Kind.MAX, 2, 2), x);
  }

  private Conv conv1() {
    return Conv.plain("conv1", imageChannels, 32, 5, 1, 0);
  }

  private Conv conv2() {
    return Conv.plain("conv2", 32, 64, 5, 1, 0);
  }

  private Dense fc1() {
    return Dense.plain("fc1", flat(), FEATURES);
  }

  private Dense fc2() {
    return Dense.plain("fc2", FEATURES, classes);
  }
}
