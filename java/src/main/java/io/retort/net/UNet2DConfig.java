package io.retort.net;

import io.retort.tensor.ShapeException;
import java.util.List;

/// Everything that shapes a [UNet2D]; the words of diffusers' configuration in brackets.
///
/// @param resolution side of the square image (sample_size)
/// @param imageChannels of the image (in_channels)
/// @param learnedVariance twice as many channels come out, of which the second half is dropped
///   (out_channels)
/// @param centred the image is mapped from [0, 1] to [-1, 1] first (center_input_sample)
/// @param time how the timestep enters
/// @param classes how the class enters
/// @param channels width of each level (block_out_channels)
/// @param down kind of each level of the encoder, finest first (down_block_types)
/// @param up kind of each level of the decoder, coarsest first (up_block_types)
/// @param layers residual blocks per level of the encoder; the decoder has one more
///   (layers_per_block)
/// @param middle what is between encoder and decoder
/// @param downPadding 1, or 0 for a border of zeroes at the bottom and the right only
///   (downsample_padding)
/// @param resnetDown whether levels with attention shrink by a residual block instead of a
///   convolution (downsample_type)
/// @param resnetUp whether they grow by one (upsample_type)
/// @param headWidth channels of an attention head, 0 for one head (attention_head_dim)
/// @param groups of every norm, 0 for a quarter of the channels and at most 32 (norm_num_groups)
/// @param eps of every norm (norm_eps)
/// @param scaleShift scale and shift by the embedding instead of a shift (resnet_time_scale_shift)
/// @param dropout probability inside each block while training
public record UNet2DConfig(
    int resolution,
    int imageChannels,
    boolean learnedVariance,
    boolean centred,
    Time time,
    Classes classes,
    List<Integer> channels,
    List<Stage> down,
    List<Stage> up,
    int layers,
    Middle middle,
    int downPadding,
    boolean resnetDown,
    boolean resnetUp,
    int headWidth,
    int groups,
    double eps,
    boolean scaleShift,
    double dropout) {

  private static final int MOST_GROUPS = 32;

  /// Kind of a level: the residual blocks and how its resolution changes.
  public enum Stage {
    /// Residual blocks and a convolution (DownBlock2D, UpBlock2D).
    PLAIN,
    /// Attention after every residual block (AttnDownBlock2D, AttnUpBlock2D).
    ATTENTION,
    /// The resolution changes in a residual block (ResnetDownsampleBlock2D, ResnetUpsampleBlock2D).
    RESNET,
    /// A filtered image runs beside the features (SkipDownBlock2D, SkipUpBlock2D); Song et al.
    /// 2021.
    SKIP,
    /// Both (AttnSkipDownBlock2D, AttnSkipUpBlock2D).
    ATTENTION_SKIP;

    boolean attends() {
      return this == ATTENTION || this == ATTENTION_SKIP;
    }

    boolean skips() {
      return this == SKIP || this == ATTENTION_SKIP;
    }
  }

  /// How the timestep enters: sines and cosines of it, or of its logarithm at random frequencies.
  ///
  /// @param fourier random frequencies of the logarithm; the output is then divided by the timestep
  ///   (time_embedding_type)
  /// @param cosinesFirst order of the halves, where not fourier (flip_sin_to_cos)
  /// @param shift the lowest frequency is `10000^(-(half - 1) / (half - shift))` (freq_shift)
  /// @param width length of the embedding (time_embedding_dim)
  public record Time(boolean fourier, boolean cosinesFirst, double shift, int width) {}

  /// How the class enters.
  ///
  /// @param count number of classes, 0 if unconditional
  public record Classes(Kind kind, int count) {
    /// What is added to the time embedding: nothing, a row of a table, an embedding of the number
    /// as if it were a timestep, or the label itself, a vector of the embedding's length
    /// (num_class_embeds, class_embed_type).
    public enum Kind {
      NONE,
      TABLE,
      TIMESTEP,
      IDENTITY
    }

    /// No classes.
    public static final Classes NONE = new Classes(Kind.NONE, 0);
  }

  /// What is between encoder and decoder.
  ///
  /// @param present whether there are two residual blocks (mid_block_type)
  /// @param attention whether attention is between them (add_attention)
  /// @param divisor of every sum with a residual branch (mid_block_scale_factor)
  /// @param groups of the attention's norm, -1 for as the other norms (attn_norm_num_groups)
  public record Middle(boolean present, boolean attention, double divisor, int groups) {
    /// As the other norms, unless the embedding scales and shifts: then there is no norm.
    public static final int AS_OTHERS = -1;
  }

  public UNet2DConfig {
    channels = List.copyOf(channels);
    down = List.copyOf(down);
    up = List.copyOf(up);
    int levels = channels.size();
    if (levels == 0 || down.size() != levels || up.size() != levels) {
      throw new ShapeException(
          "unet2d: as many widths as levels down and up are needed, got %d, %d and %d"
              .formatted(levels, down.size(), up.size()));
    }
    if (!time.fourier && channels.getFirst() % 2 != 0) {
      throw new ShapeException(
          "unet2d: the first width must be even, for as many sines as cosines, got " + channels);
    }
    int coarsest = resolution >> (levels - 1);
    if (coarsest < 1 || coarsest << (levels - 1) != resolution) {
      throw new ShapeException(
          "unet2d: the side must be divisible by 2 for every level after the first, got %d with %d levels"
              .formatted(resolution, levels));
    }
    boolean skips = down.stream().anyMatch(Stage::skips) || up.stream().anyMatch(Stage::skips);
    if (skips && imageChannels != 3) {
      throw new ShapeException(
          "unet2d: levels with a skipping image need 3 image channels, got " + imageChannels);
    }
    if (groups == 0
        && !(down.stream().allMatch(Stage::skips) && up.stream().allMatch(Stage::skips))) {
      throw new ShapeException("unet2d: the number of groups of the norms must be given");
    }
    for (int width : channels) {
      if (width < Math.max(4, headWidth) || (groups > 0 && width % groups != 0)) {
        throw new ShapeException(
            "unet2d: widths must be at least 4 and a head of %d and multiples of %d groups, got %s"
                .formatted(headWidth, groups, channels));
      }
    }
  }

  /// Groups of a norm over that many channels.
  int groupsOf(int width) {
    return groups > 0 ? groups : quarter(width);
  }

  /// A quarter of the channels, at most 32.
  static int quarter(int width) {
    return Math.min(width / 4, MOST_GROUPS);
  }

  /// Channels of an attention head at that width.
  int headWidthOf(int width) {
    return headWidth > 0 ? headWidth : width;
  }

  /// Groups of the middle's attention, 0 for no norm.
  int middleAttentionGroups() {
    if (middle.groups != Middle.AS_OTHERS) {
      return middle.groups;
    }
    return scaleShift ? 0 : groupsOf(channels.getLast());
  }
}
