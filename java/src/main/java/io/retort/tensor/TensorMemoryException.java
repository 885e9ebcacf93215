package io.retort.tensor;

/// A block of tensor memory could not be had; the message says how much was asked, used, and what
/// to lower.
public final class TensorMemoryException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public TensorMemoryException(String message) {
    super(message);
  }
}
