package io.retort.distill;

import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.net.FeatureHeads;
import io.retort.net.FeatureMap;
import io.retort.net.UNet;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;

/// A discriminator of small heads on the features that a diffusion network makes of noised images
/// at every level of its encoder; the network itself does not learn from it. The numbers are a
/// section of a recipe.
///
/// @param form of the two losses
/// @param width channels of the heads, a multiple of 4
/// @param penalty weight of the approximate R1 on real images, 0 for none
/// @param penaltyEvery steps between two of them
/// @param delta standard deviation of its noise
/// @param optimizer how the heads learn
public record FeatureGan(
    GanForm form, int width, double penalty, int penaltyEvery, double delta, AdamSpec optimizer) {

  static final FeatureGan DEFAULT =
      new FeatureGan(
          GanForm.HINGE, 32, 0, 4, 0.1, new AdamSpec(4e-4, 0, 0.99, 1e-8, 0, 0, 20, 360));

  public FeatureGan {
    Checks.require(
        width >= 4 && width % 4 == 0 && width <= 4096,
        "width must be a multiple of 4, at most 4096, got " + width);
    Checks.require(penalty >= 0, "penalty must be at least 0, got " + penalty);
    Checks.require(penaltyEvery >= 1, "penalty_every must be at least 1, got " + penaltyEvery);
    Checks.require(delta > 0, "delta must be above 0, got " + delta);
  }

  /// The maps of a network that heads can look at.
  ///
  /// @throws IllegalArgumentException if it has none
  static List<FeatureMap> maps(DiffusionNet network) {
    if (network instanceof UNet unet) {
      return unet.maps();
    }
    throw new IllegalArgumentException(
        "teacher must be a U-Net or a transformer with a bottleneck that a discriminator can look"
            + " at");
  }

  /// `count` heads on every map of a network.
  FeatureHeads heads(DiffusionNet network, int count) {
    return new FeatureHeads(maps(network), network.classes(), width, count);
  }

  /// The only heads there are.
  static int[] single(DiffusionNet network) {
    return new int[maps(network).size()];
  }

  /// The discriminator's loss and, every now and then, its penalty.
  ///
  /// @param real noised real images
  /// @param look logits of noised images, under the noise levels of the real ones
  void teach(
      WeightedSum sum,
      double weight,
      List<Var> fakeLogits,
      Var real,
      Function<Var, List<Var>> look,
      Noise noise) {
    List<Var> realLogits = look.apply(real);
    sum.add("discriminator", weight, form.discriminator(fakeLogits, realLogits));
    if (penalty > 0 && noise.step() % penaltyEvery == 0) {
      float[] deviation = new float[Math.toIntExact(real.shape().dim(0))];
      Arrays.fill(deviation, (float) delta);
      List<Var> disturbed = look.apply(noise.add(real, deviation));
      sum.add("penalty", weight * penalty * penaltyEvery, GanForm.change(realLogits, disturbed));
    }
  }
}
