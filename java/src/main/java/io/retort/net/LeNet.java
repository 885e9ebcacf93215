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
import java.util.List;

/// The small classifier whose features measure image sets: conv5x5x32, ReLU, max-pool 2,
/// conv5x5x64, ReLU, max-pool 2, linear to 128 (the features, before their ReLU), ReLU, linear to
/// the classes.
///
/// Valid convolutions on 28x28 images in [-1, 1]. Source: after LeCun et al. 1998; names as in the
/// golden file.
public record LeNet(int imageChannels, int classes) implements Net {
  /// Length of the feature vector.
  public static final int FEATURES = 128;

  /// Side of the images it accepts.
  public static final int SIDE = 28;

  private static final int FLAT = 64 * 4 * 4;

  @Override
  public void declare(Plan plan) {
    conv1().declare(plan);
    conv2().declare(plan);
    fc1().declare(plan);
    fc2().declare(plan);
  }

  /// The 128 pre-ReLU features of images `(N, 28, 28, C)`.
  public Var features(Tape tape, Parameters parameters, Var x) {
    Var h = pool(tape, relu(tape, conv1().apply(tape, parameters, x)));
    h = pool(tape, relu(tape, conv2().apply(tape, parameters, h)));
    h = tape.apply(new Permute(List.of(0, 3, 1, 2)), h);
    h = tape.apply(new Reshape(Shape.of(x.shape().dim(0), FLAT)), h);
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

  private static Dense fc1() {
    return Dense.plain("fc1", FLAT, FEATURES);
  }

  private Dense fc2() {
    return Dense.plain("fc2", FEATURES, classes);
  }
}
