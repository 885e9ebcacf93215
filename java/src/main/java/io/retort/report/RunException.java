package io.retort.report;

import java.nio.file.Path;

/// A run cannot begin or go on in its directory, said in one sentence.
public final class RunException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public RunException(Path directory, String reason) {
    super(directory + ": " + reason);
  }
}
