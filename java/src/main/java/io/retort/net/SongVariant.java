package io.retort.net;

import io.retort.tensor.ShapeException;
import java.util.List;

/// What distinguishes the U-Nets of Song et al.: DDPM++, NCSN++ and their relatives.
///
/// @param embedding of the noise level
/// @param noiseWidth width of that embedding in units of the network's channels
/// @param embeddingWidth width of the conditioning vector in units of the network's channels
/// @param encoder how the image enters below the first level
/// @param decoder where the image leaves
/// @param filter resampling filter, an even number of taps, e.g. `[1, 1]` or `[1, 3, 3, 1]`
/// @param labelDropout how likely training shows the null class instead of a label
/// @param outputs images the network makes per input: 2 where it also predicts a variance
public record SongVariant(
    Embedding embedding,
    int noiseWidth,
    int embeddingWidth,
    Encoder encoder,
    Decoder decoder,
    List<Double> filter,
    double labelDropout,
    int outputs) {

  /// Of the noise level.
  public enum Embedding {
    /// Sines and cosines of fixed frequencies.
    POSITIONAL,
    /// Sines and cosines of random frequencies.
    FOURIER
  }

  /// How the image enters below the first level.
  public enum Encoder {
    /// Not at all.
    STANDARD,
    /// Shrunk and projected onto the features of every level.
    SKIP,
    /// Through a second chain of resampling convolutions.
    RESIDUAL
  }

  /// Where the image leaves.
  public enum Decoder {
    /// At the first level.
    STANDARD,
    /// At every level, summed from the coarsest up.
    SKIP
  }

  /// EDM's `ddpmpp`.
  public static final SongVariant DDPMPP =
      new SongVariant(
          Embedding.POSITIONAL, 1, 4, Encoder.STANDARD, Decoder.STANDARD, List.of(1.0, 1.0), 0, 1);

  /// EDM's `ncsnpp`.
  public static final SongVariant NCSNPP =
      new SongVariant(
          Embedding.FOURIER,
          2,
          4,
          Encoder.RESIDUAL,
          Decoder.STANDARD,
          List.of(1.0, 3.0, 3.0, 1.0),
          0,
          1);

  public SongVariant {
    filter = List.copyOf(filter);
    double sum = filter.stream().mapToDouble(Double::doubleValue).sum();
    if (filter.isEmpty() || filter.size() % 2 != 0 || sum == 0 || !Double.isFinite(sum)) {
      throw new ShapeException(
          "unet: the resampling filter must have an even number of taps with a sum other than 0,"
              + " got "
              + filter);
    }
    if (noiseWidth < 1 || embeddingWidth < 1 || outputs < 1) {
      throw new ShapeException(
          "unet: widths of the embeddings and outputs must be at least 1, got "
              + noiseWidth
              + ", "
              + embeddingWidth
              + ", "
              + outputs);
    }
    if (!(labelDropout >= 0 && labelDropout <= 1)) {
      throw new IllegalArgumentException(
          "unet: label dropout must be in [0, 1], got " + labelDropout);
    }
  }
}
