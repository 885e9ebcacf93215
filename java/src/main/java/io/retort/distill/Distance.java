package io.retort.distill;

import io.retort.grad.Var;

/// How far two images are apart, per sample.
///
/// Sources: pseudo-Huber, iCT, Song & Dhariwal 2023 (arXiv 2310.14189), section 3.3.
public enum Distance {
  /// Mean of the squared differences.
  L2,
  /// Mean of the absolute differences.
  L1,
  /// `sqrt(|a - b|^2 + c^2) - c` with the norm over the whole sample, `c = huber sqrt(pixels)`.
  PSEUDO_HUBER;

  /// Below the rounding of a difference: keeps the root's gradient finite where c is 0.
  private static final double LEAST = 1e-12;

  /// Distances `(N)` of images `(N, H, W, C)`.
  ///
  /// @param huber factor of [#PSEUDO_HUBER], 0.00054 in iCT
  Var perSample(Var a, Var b, double huber) {
    Var difference = a.sub(b);
    return switch (this) {
      case L2 -> difference.square().mean(1, 2, 3);
      case L1 -> difference.abs().mean(1, 2, 3);
      case PSEUDO_HUBER -> {
        double pixels = a.shape().elements() / (double) a.shape().dim(0);
        double c = huber * Math.sqrt(pixels);
        yield difference
            .square()
            .sum(1, 2, 3)
            .affine(1, Math.max(c * c, LEAST))
            .sqrt()
            .affine(1, -c);
      }
    };
  }
}
