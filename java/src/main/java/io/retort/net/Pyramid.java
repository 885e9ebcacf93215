package io.retort.net;

import io.retort.tensor.ShapeException;
import java.util.List;
import java.util.stream.IntStream;

/// The levels of a U-Net, finest first; each has half the side of the one before.
///
/// @param resolution side of the square image
/// @param channels the unit of width
/// @param multipliers width of each level in units of `channels`
record Pyramid(int resolution, int channels, List<Integer> multipliers) {

  Pyramid {
    multipliers = List.copyOf(multipliers);
    int halvings = multipliers.size() - 1;
    if (multipliers.isEmpty()
        || halvings > 30
        || resolution < 1
        || resolution >> halvings << halvings != resolution) {
      throw new ShapeException(
          "unet: resolution must be divisible by 2 for every level after the first, got "
              + resolution
              + " with multipliers "
              + multipliers);
    }
    if (channels < 1 || multipliers.stream().anyMatch(each -> each < 1)) {
      throw new ShapeException(
          "unet: channels and multipliers must be at least 1, got "
              + channels
              + " and "
              + multipliers);
    }
  }

  int levels() {
    return multipliers.size();
  }

  int side(int level) {
    return resolution >> level;
  }

  int width(int level) {
    return channels * multipliers.get(level);
  }

  /// What every level makes, finest first.
  List<FeatureMap> maps() {
    return IntStream.range(0, levels())
        .mapToObj(level -> new FeatureMap(side(level), width(level)))
        .toList();
  }

  int coarsest() {
    return levels() - 1;
  }

  /// Prefix of EDM's names for the parts of a level, e.g. `enc.16x16_`.
  String prefix(String half, int level) {
    return half + "." + side(level) + "x" + side(level) + "_";
  }
}
