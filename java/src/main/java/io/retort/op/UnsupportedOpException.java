package io.retort.op;

/// A backend has no kernel for an op, or not for these arguments. Nothing falls back silently.
public final class UnsupportedOpException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public UnsupportedOpException(String op, String backend, String reason) {
    super(op + ": not supported on " + backend + " (" + reason + ")");
  }
}
