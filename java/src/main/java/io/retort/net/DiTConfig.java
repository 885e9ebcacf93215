package io.retort.net;

import io.retort.tensor.ShapeException;

/// Everything that shapes a [DiT]; facebook's words, then diffusers'.
///
/// @param resolution side of the square image (input_size, sample_size)
/// @param imageChannels of the image (in_channels)
/// @param learnedVariance twice as many channels come out, of which the second half is dropped
///   (learn_sigma, out_channels)
/// @param patch side of a patch (patch_size)
/// @param heads attention heads (num_heads, num_attention_heads)
/// @param headWidth channels of one; the tokens have `heads * headWidth` (hidden_size,
///   attention_head_dim)
/// @param depth number of blocks (depth, num_layers)
/// @param hidden channels between the two layers of a block's MLP (mlp_ratio; 4 times the tokens')
/// @param classes number of classes (num_classes, num_embeds_ada_norm)
/// @param classDropout how likely a class is dropped while training; above 0 the table of classes
///   has a last row for none (class_dropout_prob; 0.1)
/// @param names whose parameters
/// @param secondEps of the norm before the MLP (1e-6, norm_eps)
/// @param secondAffine scale and shift of its own in that norm (never, norm_elementwise_affine)
/// @param attentionBias bias in q, k and v (always, attention_bias)
/// @param exactGelu GELU by the normal distribution instead of tanh (never, activation_fn)
/// @param dropout after attention and inside the MLP while training (0, dropout)
public record DiTConfig(
    int resolution,
    int imageChannels,
    boolean learnedVariance,
    int patch,
    int heads,
    int headWidth,
    int depth,
    int hidden,
    int classes,
    double classDropout,
    Names names,
    double secondEps,
    boolean secondAffine,
    boolean attentionBias,
    boolean exactGelu,
    double dropout) {

  /// Which implementation's checkpoints: names, layout of q, k, v, and where the embeddings are.
  public enum Names {
    /// facebook's: one embedding for all blocks, positions stored, q, k and v in one layer.
    ORIGINAL,
    /// diffusers': an embedding in every block, the first's also for the last layer; positions
    /// computed; the lowest frequency of the timestep is 1/10000 exactly.
    DIFFUSERS
  }

  public DiTConfig {
    if (patch < 1 || resolution % patch != 0) {
      throw new ShapeException(
          "dit: the side must be a multiple of the patch, got %d and %d"
              .formatted(resolution, patch));
    }
    if (heads < 1 || headWidth < 1 || heads * headWidth % 4 != 0) {
      throw new ShapeException(
          "dit: heads times their width must be a multiple of 4, got %d and %d"
              .formatted(heads, headWidth));
    }
    if (depth < 1 || hidden < 1 || classes < 1 || imageChannels < 1) {
      throw new ShapeException(
          "dit: depth, hidden width, classes and image channels must be at least 1, got %d, %d, %d and %d"
              .formatted(depth, hidden, classes, imageChannels));
    }
  }

  /// Whether the table of classes has a last row for none.
  public boolean hasNullClass() {
    return classDropout > 0;
  }

  /// Channels of the tokens.
  public int width() {
    return heads * headWidth;
  }

  /// Patches along a side.
  public int grid() {
    return resolution / patch;
  }

  /// Channels of the image that comes out.
  int outputs() {
    return learnedVariance ? 2 * imageChannels : imageChannels;
  }

  boolean original() {
    return names == Names.ORIGINAL;
  }
}
