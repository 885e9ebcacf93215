package io.retort.distill;

import static java.util.Objects.requireNonNull;

import io.retort.data.Batch;
import io.retort.distill.Method.Phase;
import io.retort.distill.Method.Role;
import io.retort.grad.Var;
import io.retort.net.ConvClassifier;
import io.retort.net.DiffusionNet;
import io.retort.op.CrossEntropy;
import io.retort.tensor.Shape;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;

/// What an image is worth beside being likely: how sure a classifier is of its class, and how sharp
/// it is. The numbers are a section of a recipe.
///
/// Rewards of different units are mixed by what sets an image apart from others, in standard
/// deviations. The classifier learns from the real images of every step, beside the method; it
/// knows nothing of generated ones. Both rewards have gradients for the images. Sources: ours; the
/// deviations after Shao et al. 2024 (GRPO, arXiv 2402.03300).
///
/// @param confidence weight of the probability that the classifier gives the wanted class
/// @param sharpness weight of the mean absolute Laplacian
/// @param width channels of the classifier's first convolution
/// @param classifier how it learns
public record Rewards(double confidence, double sharpness, int width, AdamSpec classifier) {
  public static final String CLASSIFIER = "classifier";

  /// No reward.
  static final Rewards OFF =
      new Rewards(0, 0, 16, new AdamSpec(1e-3, 0.9, 0.999, 1e-8, 0, 0, 0, 0));

  /// Smallest deviation that counts: images that are worth the same shall not be told apart.
  private static final double LEAST = 0.01;

  private static final float[] LAPLACE = {0, -1, 0, -1, 4, -1, 0, -1, 0};

  public Rewards {
    Checks.require(
        confidence >= 0 && sharpness >= 0, "confidence and sharpness must be at least 0");
    Checks.require(width >= 1 && width <= 4096, "width must be 1 to 4096, got " + width);
  }

  boolean on() {
    return confidence > 0 || sharpness > 0;
  }

  /// @throws IllegalArgumentException if the confidence is wanted and there are no classes
  void requireFits(DiffusionNet network) {
    Checks.require(
        confidence == 0 || network.classes() >= 2,
        "confidence must be 0: the teacher has no classes to be sure of");
  }

  /// The classifier, where it is wanted.
  List<Role> roles(DiffusionNet network) {
    if (confidence == 0) {
      return List.of();
    }
    ConvClassifier net =
        new ConvClassifier(network.resolution(), network.imageChannels(), network.classes(), width);
    return List.of(Role.drawn(CLASSIFIER, net, classifier, false));
  }

  /// The classifier's learning, where it is wanted.
  List<Phase> phases() {
    return confidence == 0
        ? List.of()
        : List.of(new Phase(CLASSIFIER, 1, Set.of(CLASSIFIER), Rewards::classify));
  }

  private static Method.Terms classify(Nets nets, Batch real, Noise noise) {
    int[] labels = real.labels();
    long[] wanted = new long[labels.length];
    for (int i = 0; i < wanted.length; i++) {
      wanted[i] = labels[i];
    }
    Var logits = logits(nets, nets.images(real, labels.length));
    Var classes = nets.tape().constant(Shape.of(wanted.length), wanted);
    return WeightedSum.single(
        "cross_entropy", nets.tape().apply(new CrossEntropy(), logits, classes));
  }

  private static Var logits(Nets nets, Var images) {
    return nets.output(
        nets.classifier(CLASSIFIER)
            .apply(nets.tape(), nets.parameters(CLASSIFIER), nets.input(images)));
  }

  /// Every reward that counts, by name, one number an image `(N)`.
  SequencedMap<String, Var> each(Nets nets, Var images, int[] labels) {
    SequencedMap<String, Var> rewards = new LinkedHashMap<>();
    if (confidence > 0) {
      rewards.put("confidence", confidence(nets, images, labels));
    }
    if (sharpness > 0) {
      rewards.put("sharpness", sharpness(images));
    }
    return rewards;
  }

  /// The weighted sum of rewards in standard deviations of groups of images that follow one another
  /// `(N)`. The deviations are constants to the gradient; means, which have none and drop out of
  /// comparisons, are left in.
  ///
  /// @param rewards of [#each]
  Var mixed(SequencedMap<String, Var> rewards, int group) {
    Var sum = null;
    for (var reward : rewards.entrySet()) {
      double weight = reward.getKey().equals("confidence") ? confidence : sharpness;
      Var scores = scaled(reward.getValue(), group).scale(weight);
      sum = sum == null ? scores : sum.add(scores);
    }
    if (sum == null) {
      throw new IllegalStateException("rewards: none is switched on");
    }
    return sum;
  }

  /// `p(label | image)` of the classifier.
  static Var confidence(Nets nets, Var images, int[] labels) {
    Var probabilities = logits(nets, images).softmax();
    int classes = Math.toIntExact(probabilities.shape().last());
    return probabilities.mul(requireNonNull(nets.oneHot(labels, classes))).sum(1);
  }

  /// Mean absolute Laplacian `|4 x - its four neighbours|` inside an image.
  static Var sharpness(Var images) {
    int channels = Math.toIntExact(images.shape().last());
    float[] kernels = new float[9 * channels];
    for (int c = 0; c < channels; c++) {
      System.arraycopy(LAPLACE, 0, kernels, 9 * c, 9);
    }
    Var kernel = images.tape().constant(Shape.of(channels, 1, 3, 3), kernels);
    return images.conv2d(kernel, 1, 0, channels).abs().mean(1, 2, 3);
  }

  /// `r / sqrt(variance + least^2)` within every group.
  static Var scaled(Var rewards, int group) {
    long count = rewards.shape().elements();
    Var rows = rewards.reshape(count / group, group);
    Var constant = rows.detach();
    Var variance =
        constant
            .addBroadcast(column(constant.mean(1)).scale(-1))
            .square()
            .mean(1)
            .affine(1, LEAST * LEAST);
    Var inverse = variance.log().scale(-0.5).exp();
    return rows.mulBroadcast(column(inverse)).reshape(count);
  }

  private static Var column(Var numbers) {
    return numbers.reshape(numbers.shape().elements(), 1);
  }
}
