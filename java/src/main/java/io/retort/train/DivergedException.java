package io.retort.train;

/// A loss or a gradient stopped being finite; nothing was updated with it.
public final class DivergedException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public DivergedException(long step, String phase, String what, double value) {
    super(
        "training diverged at step "
            + step
            + ": "
            + phase
            + "/"
            + what
            + " is "
            + value
            + "; the last checkpoint is kept (lower the learning rate or the term's weight)");
  }
}
