package io.retort.tensor;

/// A tensor has the wrong element type: `<op>: <what> must be <expected>, got <actual>`.
public final class DTypeException extends IllegalArgumentException {
  private static final long serialVersionUID = 1L;

  public DTypeException(String message) {
    super(message);
  }
}
