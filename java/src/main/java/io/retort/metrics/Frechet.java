package io.retort.metrics;

import org.ejml.data.DMatrixRMaj;
import org.ejml.dense.row.CommonOps_DDRM;
import org.ejml.dense.row.factory.DecompositionFactory_DDRM;

/// `|m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2))`: the Fréchet distance of two Gaussians.
///
/// It is the squared 2-Wasserstein distance between normal laws with these moments (Dowson & Landau
/// 1982), applied to network features by Heusel et al. 2017, eq. 6. Unit: squared feature units.
///
/// Bias: at finite n the estimate is too large, by about `tr(S) (d/n)`-like terms, and falls with
/// n; compare only at the same n and beside the floor. n must exceed d for a regular covariance.
///
/// The trace of the matrix root is the nuclear norm (sum of singular values) of `S1^(1/2)
/// S2^(1/2)`, where the roots come from symmetric eigendecompositions with negative rounding noise
/// clipped. Taking eigenvalues of the product instead would square the numbers first and lose half
/// the digits wherever a covariance is singular (a dead feature, n <= d).
public final class Frechet {

  private Frechet() {}

  /// The distance between the Gaussians with moments `a` and `b`; 0 for equal moments, symmetric.
  ///
  /// Cost: `O(d^3)`, some tens of milliseconds at d = 128.
  ///
  /// @throws IllegalArgumentException if the dimensions differ
  public static double distance(FeatureMoments a, FeatureMoments b) {
    a.requireDimension("frechet", b);
    double squaredShift = 0;
    for (int i = 0; i < a.dimension(); i++) {
      double shift = a.mean()[i] - b.mean()[i];
      squaredShift += shift * shift;
    }
    double spread = a.trace() + b.trace() - 2 * traceOfProductRoot(a.covariance(), b.covariance());
    return squaredShift + Math.max(0, spread);
  }

  /// [#distance(FeatureMoments, FeatureMoments)] of two sets of feature vectors, one per row.
  public static double distance(float[][] a, float[][] b) {
    return distance(FeatureMoments.of(a), FeatureMoments.of(b));
  }

  /// `tr((A B)^(1/2)) = || A^(1/2) B^(1/2) ||_*` for symmetric positive semi-definite A and B.
  static double traceOfProductRoot(double[][] a, double[][] b) {
    int d = a.length;
    var product = new DMatrixRMaj(d, d);
    CommonOps_DDRM.multTransA(halfRoot(a), halfRoot(b), product);
    var svd = DecompositionFactory_DDRM.svd(d, d, false, false, true);
    if (!svd.decompose(product)) {
      throw new ArithmeticException("frechet: singular values did not converge");
    }
    double sum = 0;
    for (double value : svd.getSingularValues()) {
      sum += value;
    }
    return sum;
  }

  /// `V sqrt(max(w, 0))` with `S = V diag(w) V^T`: a factor H of `S = H H^T`.
  ///
  /// `H_a^T H_b` differs from `A^(1/2) B^(1/2)` by rotations only, so its singular values are the
  /// same and one product is saved.
  private static DMatrixRMaj halfRoot(double[][] symmetric) {
    int d = symmetric.length;
    var eigen = DecompositionFactory_DDRM.eig(d, true, true);
    if (!eigen.decompose(new DMatrixRMaj(symmetric))) {
      throw new ArithmeticException("frechet: eigenvalues did not converge");
    }
    var root = new DMatrixRMaj(d, d);
    for (int k = 0; k < d; k++) {
      double scale = Math.sqrt(Math.max(0, eigen.getEigenvalue(k).getReal()));
      DMatrixRMaj vector = eigen.getEigenVector(k);
      for (int i = 0; i < d; i++) {
        root.set(i, k, scale * vector.get(i));
      }
    }
    return root;
  }
}
