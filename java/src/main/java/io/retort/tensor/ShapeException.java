package io.retort.tensor;

/// A tensor has the wrong shape: `<op>: <what> must be <expected>, got <actual>`.
public final class ShapeException extends IllegalArgumentException {
  private static final long serialVersionUID = 1L;

  public ShapeException(String message) {
    super(message);
  }
}
