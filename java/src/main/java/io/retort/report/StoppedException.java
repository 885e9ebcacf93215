package io.retort.report;

/// The user asked to stop while a run was drawing or measuring; it is taken up again there.
final class StoppedException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  StoppedException() {
    super("stopped");
  }
}
