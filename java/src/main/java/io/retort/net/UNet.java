package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.tensor.PhiloxKey;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// A diffusion network with a bottleneck, whose features a discriminator head can look at.
public interface UNet extends DiffusionNet {

  /// Shape facts of the bottleneck that [#encode] returns: side and channels.
  int bottleneckSide();

  int bottleneckChannels();

  /// Length of the augmentation condition, 0 for none.
  default int augmentation() {
    return 0;
  }

  /// The raw network on augmented images.
  ///
  /// @param augmentation what was done to each image, one row each; null for nothing
  default Var apply(
      Tape tape,
      Parameters parameters,
      Var x,
      Var noise,
      @Nullable Var labels,
      @Nullable Var augmentation,
      @Nullable PhiloxKey dropout) {
    if (augmentation != null) {
      throw new IllegalArgumentException("unet: the network takes no augmentation condition");
    }
    return apply(tape, parameters, x, noise, labels, dropout);
  }

  /// The encoder alone: its last feature map `(N, side, side, channels)`.
  Var encode(
      Tape tape,
      Parameters parameters,
      Var x,
      Var noise,
      @Nullable Var labels,
      @Nullable PhiloxKey dropout);

  /// The maps that [#features] returns, finest first.
  default List<FeatureMap> maps() {
    return List.of(new FeatureMap(bottleneckSide(), bottleneckChannels()));
  }

  /// What the encoder makes at every level, finest first; the bottleneck alone where the network
  /// has no levels to show.
  default List<Var> features(
      Tape tape,
      Parameters parameters,
      Var x,
      Var noise,
      @Nullable Var labels,
      @Nullable PhiloxKey dropout) {
    return List.of(encode(tape, parameters, x, noise, labels, dropout));
  }
}
