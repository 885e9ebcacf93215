package io.retort.bindings;

/// A native function that returned something other than success.
public final class NativeCallException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final String call;
  private final int status;
  private final String reason;

  /// `call` is the native function's name, `status` what it returned, `reason` the library's own
  /// sentence.
  public NativeCallException(String call, int status, String reason) {
    super(call + ": " + reason + " (status " + status + ")");
    this.call = call;
    this.status = status;
    this.reason = reason;
  }

  public String call() {
    return call;
  }

  public int status() {
    return status;
  }

  public String reason() {
    return reason;
  }
}
