package io.retort.cli;

import org.jspecify.annotations.Nullable;

/// Ranges of numeric options.
final class Numbers {
  private Numbers() {}

  /// @throws UsageException if the option was given and is below 1
  static void positive(String option, @Nullable Number value) {
    if (value != null && value.longValue() < 1) {
      throw new UsageException("%s must be at least 1, got %s".formatted(option, value));
    }
  }

  /// @throws UsageException if the option was given and is below 0
  static void notNegative(String option, @Nullable Number value) {
    if (value != null && value.longValue() < 0) {
      throw new UsageException("%s must be at least 0, got %s".formatted(option, value));
    }
  }
}
