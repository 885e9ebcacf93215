package io.retort.distill;

import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.net.DiscriminatorHead;
import io.retort.net.UNet;
import io.retort.op.Activation;
import io.retort.op.Add;
import io.retort.op.Affine;
import io.retort.op.Reduce;
import java.util.List;

/// The non-saturating GAN losses on logits. Source: Goodfellow et al. 2014, section 3; used so by
/// DMD2.
final class Adversarial {

  private Adversarial() {}

  /// The discriminator that looks at the bottleneck of a critic of this structure.
  ///
  /// @throws IllegalArgumentException if it has none
  static DiscriminatorHead head(DiffusionNet network) {
    UNet unet = requireBottleneck(network);
    return new DiscriminatorHead(unet.bottleneckSide(), unet.bottleneckChannels());
  }

  /// The network as one with a bottleneck that a discriminator can look at.
  ///
  /// @throws IllegalArgumentException if it has none
  static UNet requireBottleneck(DiffusionNet network) {
    if (network instanceof UNet unet && unet.bottleneckSide() >= 2) {
      return unet;
    }
    throw new IllegalArgumentException(
        "gan must be 0: it needs a U-Net as teacher whose bottleneck has a side of at least 2");
  }

  /// `mean softplus(-logits)`: the generator's loss on its own images, the discriminator's on real
  /// ones.
  static Var looksReal(Var logits) {
    return meanSoftplus(logits.tape().apply(new Affine(-1, 0), logits));
  }

  /// `mean softplus(fake) + mean softplus(-real)`: the discriminator's loss.
  static Var discriminator(Var fake, Var real) {
    return fake.tape().apply(new Add(1, 1), meanSoftplus(fake), looksReal(real));
  }

  private static Var meanSoftplus(Var logits) {
    Tape tape = logits.tape();
    Var soft = tape.apply(new Activation(Activation.Kind.SOFTPLUS, 0), logits);
    return tape.apply(new Reduce(Reduce.Kind.MEAN, List.of()), soft);
  }
}
