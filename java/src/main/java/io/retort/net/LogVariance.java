package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Dense;
import io.retort.nn.Init;
import io.retort.nn.Plan;

/// How uncertain a loss is at a noise level: a linear layer on sines and cosines of ln sigma, 0
/// everywhere to begin with.
///
/// Under `e^-u loss + u` every level comes to weigh the same. Source: Karras et al. 2024 (EDM2,
/// arXiv 2312.02696), section 4; sCM, Lu & Song 2024 (arXiv 2410.11081), section 4.2.
///
/// @param channels sines and cosines, even
public record LogVariance(int channels) implements Net {
  private static final double MAX_POSITIONS = 10000;

  @Override
  public void declare(Plan plan) {
    layer().declare(plan);
  }

  /// u `(N)` at ln sigma `(N)`.
  public Var apply(Tape tape, Parameters parameters, Var logSigma) {
    Var waves = logSigma.sinusoid(channels, MAX_POSITIONS, true, false);
    return layer().apply(tape, parameters, waves).reshape(logSigma.shape().dims());
  }

  private Dense layer() {
    Init zero = new Init.Constant(0);
    return new Dense("log_variance", channels, 1, true, zero, zero);
  }
}
