package io.retort.net;

import io.retort.grad.Var;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/// A feature map of a network that discriminators can look at: `(N, side, side, channels)`.
public record FeatureMap(int side, int channels) {

  /// Of maps that halve from level to level the last one of every level, finest first.
  ///
  /// @param newestFirst all maps, the last made before the others
  static List<Var> lastOfEveryLevel(Iterable<Var> newestFirst) {
    List<Var> last = new ArrayList<>();
    for (Var map : newestFirst) {
      if (last.isEmpty() || last.getLast().shape().dim(1) != map.shape().dim(1)) {
        last.add(map);
      }
    }
    Collections.reverse(last);
    return last;
  }
}
