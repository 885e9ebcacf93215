package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.tensor.PhiloxKey;
import org.jspecify.annotations.Nullable;

/// An image-to-image network conditioned on a noise level and, optionally, a class: what a denoiser
/// wraps, U-Net or transformer.
public interface DiffusionNet extends Net {

  int resolution();

  int imageChannels();

  /// Number of classes, 0 if unconditional.
  int classes();

  /// The raw network.
  ///
  /// @param x `(N, H, W, C)`
  /// @param noise conditioning number per sample `(N)`
  /// @param labels one-hot `(N, classes)`, a row of zeros for the null class; null if the network
  ///   has no classes
  /// @param dropout key of the dropout masks, null to switch dropout off
  /// @return `(N, H, W, K)` with K at least C; channels after the first C (a predicted variance)
  ///   are of no interest to a denoiser
  Var apply(
      Tape tape,
      Parameters parameters,
      Var x,
      Var noise,
      @Nullable Var labels,
      @Nullable PhiloxKey dropout);

  /// Whether it can be asked without a class, where it has classes.
  default boolean hasNullClass() {
    return true;
  }

  /// How likely a label is replaced by the null class while training, for classifier-free guidance.
  default double labelDropout() {
    return 0;
  }
}
