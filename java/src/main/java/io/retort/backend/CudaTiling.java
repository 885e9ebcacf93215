package io.retort.backend;

import io.retort.tensor.DType;
import java.util.List;

/// How a product is spread over a device: its tile, and the parts that the sums along k are cut
/// into.
///
/// Depends on the shape alone, so that every device adds in the same order.
///
/// @param tile index into [CudaTile#of]
/// @param parts at least 1; more than one means a second kernel that adds them
record CudaTiling(int tile, int parts) {
  /// Multiprocessors of the device that shapes are cut for.
  private static final long MULTIPROCESSORS = 132;

  /// Steps that are worth a part of their own.
  private static final long LEAST_STEPS = 8;

  private static final long MOST_PARTS = 64;

  /// Blocks a multiprocessor is given at most by cutting into parts.
  private static final int MOST_ROUNDS = 4;

  /// Microseconds before a block's first and after its last step.
  private static final double BLOCK = 3;

  /// Microseconds of a launch that adds parts, and of each byte that it and the product move.
  private static final double SUM = 3;

  private static final double SUM_BYTE = 1 / 3.0e6;

  /// Chooses a tiling; a test may bring its own.
  interface Choice {
    /// @param matrices products of one launch
    /// @param steps along k, of [CudaTile#depth] elements
    CudaTiling of(DType type, long matrices, long rows, long columns, long steps);
  }

  /// The one that should be fastest.
  static CudaTiling fastest(DType type, long matrices, long rows, long columns, long steps) {
    int best = 0;
    long bestParts = 1;
    double least = Double.MAX_VALUE;
    List<CudaTile> tiles = CudaTile.of(type);
    for (int i = 0; i < tiles.size(); i++) {
      CudaTile tile = tiles.get(i);
      long blocks = matrices * tile.blocks(rows, columns);
      for (int rounds = 0; rounds <= MOST_ROUNDS; rounds++) {
        long parts = parts(steps, rounds * MULTIPROCESSORS / blocks);
        double time = time(tile, blocks, steps, parts, matrices * rows * columns);
        if (time < least) {
          least = time;
          best = i;
          bestParts = parts;
        }
      }
    }
    return new CudaTiling(best, (int) bestParts);
  }

  /// The number of equal parts nearest to a wish, none of them short or empty.
  private static long parts(long steps, long wanted) {
    long parts = Math.clamp(wanted, 1, Math.clamp(steps / LEAST_STEPS, 1, MOST_PARTS));
    return Math.ceilDiv(steps, Math.ceilDiv(Math.max(steps, 1), parts));
  }

  private static double time(CudaTile tile, long blocks, long steps, long parts, long results) {
    long rounds = Math.ceilDiv(blocks * parts, MULTIPROCESSORS);
    double step = Math.max(rounds * tile.together(), tile.alone());
    double sum = parts == 1 ? 0 : SUM + SUM_BYTE * 2 * Float.BYTES * parts * results;
    return BLOCK + Math.ceilDiv(steps, parts) * step + sum;
  }
}
