package io.retort.distill;

import io.retort.grad.Var;
import java.util.List;
import java.util.function.BinaryOperator;

/// How a generator and a discriminator play, on the logits of several heads; every loss is the mean
/// over heads of the mean over logits.
public enum GanForm {
  /// `softplus(f) + softplus(-r)` against `softplus(-f)`. Source: Goodfellow et al. 2014.
  NON_SATURATING,

  /// `relu(1 + f) + relu(1 - r)` against `-f`. Source: Lim & Ye 2017, arXiv 1705.02894.
  HINGE,

  /// `softplus(f - r)` against `softplus(r - f)`, a fake and a real one paired by their place in
  /// the batch. Source: Jolicoeur-Martineau 2018, arXiv 1807.00734.
  RELATIVISTIC;

  /// Whether the generator's loss looks at real images.
  boolean paired() {
    return this == RELATIVISTIC;
  }

  /// The generator's loss.
  ///
  /// @param real logits without gradients; looked at only where [#paired]
  Var generator(List<Var> fake, List<Var> real) {
    return switch (this) {
      case NON_SATURATING -> overHeads(fake, fake, (f, same) -> Adversarial.looksReal(f));
      case HINGE -> overHeads(fake, fake, (f, same) -> f.scale(-1).mean());
      case RELATIVISTIC -> overHeads(fake, real, (f, r) -> Adversarial.looksReal(f.sub(r)));
    };
  }

  /// The discriminator's loss.
  Var discriminator(List<Var> fake, List<Var> real) {
    return switch (this) {
      case NON_SATURATING -> overHeads(fake, real, Adversarial::discriminator);
      case HINGE ->
          overHeads(
              fake,
              real,
              (f, r) -> f.affine(1, 1).relu().mean().add(r.affine(-1, 1).relu().mean()));
      case RELATIVISTIC -> overHeads(fake, real, (f, r) -> Adversarial.looksReal(r.sub(f)));
    };
  }

  /// `mean |D(x) - D(x + delta n)|^2`, an approximation of R1 that needs no second derivative.
  /// Source: Lin et al. 2025 (arXiv 2501.08316), eq. 5.
  static Var change(List<Var> logits, List<Var> disturbed) {
    return overHeads(logits, disturbed, (l, d) -> l.sub(d).square().mean());
  }

  private static Var overHeads(List<Var> first, List<Var> second, BinaryOperator<Var> loss) {
    Var sum = loss.apply(first.getFirst(), second.getFirst());
    for (int head = 1; head < first.size(); head++) {
      sum = sum.add(loss.apply(first.get(head), second.get(head)));
    }
    return sum.scale(1.0 / first.size());
  }
}
