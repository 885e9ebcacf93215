package io.retort.bindings;

import org.jspecify.annotations.Nullable;

/// A native library that cannot be used here: it is missing, damaged, does not fit the machine, or
/// differs from what the Java side was compiled against. An `Error`, so that it leaves a class
/// initialiser as itself.
public final class NativeLinkError extends LinkageError {
  private static final long serialVersionUID = 1L;

  public NativeLinkError(String sentence) {
    super(sentence);
  }

  public NativeLinkError(String sentence, @Nullable Throwable cause) {
    super(sentence, cause);
  }
}
