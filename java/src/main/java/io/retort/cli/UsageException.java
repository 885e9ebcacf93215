package io.retort.cli;

/// The call itself is wrong, whatever the files say: exit status 2.
final class UsageException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  UsageException(String sentence) {
    super(sentence);
  }
}
