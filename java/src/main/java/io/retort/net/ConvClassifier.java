package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Conv;
import io.retort.nn.Dense;
import io.retort.nn.Plan;

/// A small classifier that learns beside a method: `[conv3x3, leaky ReLU, 2x2 mean] x 2`, linear.
///
/// Without norms, so that it sees brightness and contrast. Sizes are ours.
///
/// @param side of the square images, at least 4
/// @param width channels of the first convolution; the second has twice as many
public record ConvClassifier(int side, int imageChannels, int classes, int width) implements Net {
  private static final double LEAK = 0.2;

  public ConvClassifier {
    if (side < 4 || classes < 2 || width < 1) {
      throw new IllegalArgumentException(
          "classifier: images must have a side of at least 4 and at least 2 classes, got %d and %d"
              .formatted(side, classes));
    }
  }

  @Override
  public void declare(Plan plan) {
    conv(0).declare(plan);
    conv(1).declare(plan);
    logits().declare(plan);
  }

  /// Class scores `(N, classes)` of images `(N, side, side, C)`.
  public Var apply(Tape tape, Parameters parameters, Var x) {
    Var h = conv(0).apply(tape, parameters, x).leakyRelu(LEAK).avgPool(2, 2);
    h = conv(1).apply(tape, parameters, h).leakyRelu(LEAK).avgPool(2, 2);
    return logits().apply(tape, parameters, h.reshape(x.shape().dim(0), flat()));
  }

  private long flat() {
    long left = side / 2 / 2;
    return left * left * 2 * width;
  }

  private Conv conv(int stage) {
    return stage == 0
        ? Conv.plain("conv0", imageChannels, width, 3, 1, 1)
        : Conv.plain("conv1", width, 2 * width, 3, 1, 1);
  }

  private Dense logits() {
    return Dense.plain("logits", Math.toIntExact(flat()), classes);
  }
}
