package io.retort.metrics;

import java.util.Arrays;

/// Precision, recall, density and coverage: fidelity and diversity as two separate numbers each.
///
/// Around every vector of a set lies a ball that just reaches its k-th nearest neighbour in the
/// same set; the union of the balls stands for the set's support.
///
/// - *precision*: fraction of generated vectors in a real ball (Kynkäänniemi et al. 2019, eq. 2);
/// - *recall*: fraction of real vectors in a generated ball (the same, roles exchanged);
/// - *density*: mean number of real balls around a generated vector, divided by k; may exceed 1;
/// - *coverage*: fraction of real balls that hold a generated vector (Naeem et al. 2020, eqs. 4 and
///   5).
///
/// Balls are closed (`<=`), as in the first paper, so an exact copy counts as inside. For equal
/// laws coverage tends to `1 - 2^-k`, density to 1. Precision and recall rise with n and with k and
/// are fooled by outliers; density and coverage less so. Compare at equal n, beside the floor.
///
/// @param precision 0..1, higher is more faithful
/// @param recall 0..1, higher is more diverse
/// @param density 0 or more, 1 expected for equal laws
/// @param coverage 0..1
public record Prdc(double precision, double recall, double density, double coverage) {

  /// Neighbours for precision and recall, the first paper's choice.
  public static final int MANIFOLD_NEIGHBOURS = 3;

  /// Neighbours for density and coverage, the second paper's choice.
  public static final int DENSITY_NEIGHBOURS = 5;

  /// [#of(float\[\]\[\], float\[\]\[\], int, int)] with both papers' numbers of neighbours.
  public static Prdc of(float[][] real, float[][] generated) {
    return of(real, generated, MANIFOLD_NEIGHBOURS, DENSITY_NEIGHBOURS);
  }

  /// Cost: `(N^2 + M^2 + N M) d` multiply-adds; N = M = 5000 at d = 128 take about 1.5 s.
  ///
  /// @param real N feature vectors
  /// @param generated M feature vectors
  /// @param manifoldNeighbours k of precision and recall
  /// @param densityNeighbours k of density and coverage
  /// @throws IllegalArgumentException if a k is below 1 or a set has not more than k vectors
  public static Prdc of(
      float[][] real, float[][] generated, int manifoldNeighbours, int densityNeighbours) {
    int most = Math.max(manifoldNeighbours, densityNeighbours);
    if (Math.min(manifoldNeighbours, densityNeighbours) < 1
        || Math.min(real.length, generated.length) <= most) {
      throw new IllegalArgumentException(
          "precision and recall: neighbours must be 1 to %d, got %d and %d"
              .formatted(
                  Math.min(real.length, generated.length) - 1,
                  manifoldNeighbours,
                  densityNeighbours));
    }
    double[] centre = FeatureMoments.of(real).mean();
    var realRows = PackedRows.centred(real, centre);
    var generatedRows = PackedRows.centred(generated, centre);
    float[] realNearest = nearest(realRows, most);
    float[] generatedNearest = nearest(generatedRows, most);
    return count(
        new Balls(realRows, radii(realNearest, most, manifoldNeighbours)),
        radii(realNearest, most, densityNeighbours),
        new Balls(generatedRows, radii(generatedNearest, most, manifoldNeighbours)),
        densityNeighbours);
  }

  /// Vectors with the squared radius of the ball around each.
  private record Balls(PackedRows centres, float[] squaredRadii) {}

  private static Prdc count(
      Balls real, float[] densityRadii, Balls generated, int densityNeighbours) {
    int realCount = real.centres().count();
    int generatedCount = generated.centres().count();
    var precise = new boolean[generatedCount];
    var recalled = new boolean[realCount];
    var covered = new boolean[realCount];
    var inside = new long[1];
    float[] realNorms = real.centres().squaredNorms();
    float[] generatedNorms = generated.centres().squaredNorms();
    InnerProducts.forEach(
        generated.centres(),
        real.centres(),
        (row, column, columns, products, offset) -> {
          boolean anyReal = precise[row];
          long balls = 0;
          for (int j = 0; j < columns; j++) {
            int i = column + j;
            float squared =
                squaredDistance(generatedNorms[row], realNorms[i], products[offset + j]);
            anyReal |= squared <= real.squaredRadii()[i];
            recalled[i] |= squared <= generated.squaredRadii()[row];
            if (squared <= densityRadii[i]) {
              covered[i] = true;
              balls++;
            }
          }
          precise[row] = anyReal;
          inside[0] += balls;
        });
    return new Prdc(
        fraction(precise),
        fraction(recalled),
        (double) inside[0] / ((double) densityNeighbours * generatedCount),
        fraction(covered));
  }

  /// Squared distances from each vector to its `k` nearest others, ascending, `(count, k)` flat.
  private static float[] nearest(PackedRows rows, int k) {
    var nearest = new float[rows.count() * k];
    Arrays.fill(nearest, Float.POSITIVE_INFINITY);
    float[] norms = rows.squaredNorms();
    InnerProducts.forEach(
        rows,
        rows,
        (row, column, columns, products, offset) -> {
          int last = row * k + k - 1;
          for (int j = 0; j < columns; j++) {
            float squared = squaredDistance(norms[row], norms[column + j], products[offset + j]);
            if (squared < nearest[last] && column + j != row) {
              insert(nearest, row * k, last, squared);
            }
          }
        });
    return nearest;
  }

  private static void insert(float[] sorted, int first, int last, float value) {
    int slot = last;
    while (slot > first && sorted[slot - 1] > value) {
      sorted[slot] = sorted[slot - 1];
      slot--;
    }
    sorted[slot] = value;
  }

  private static float squaredDistance(float normX, float normY, float product) {
    return Math.max(0, (normX + normY) - 2 * product);
  }

  private static float[] radii(float[] nearest, int stored, int k) {
    var radii = new float[nearest.length / stored];
    for (int i = 0; i < radii.length; i++) {
      radii[i] = nearest[i * stored + k - 1];
    }
    return radii;
  }

  private static double fraction(boolean[] flags) {
    int set = 0;
    for (boolean flag : flags) {
      set += flag ? 1 : 0;
    }
    return (double) set / flags.length;
  }
}
