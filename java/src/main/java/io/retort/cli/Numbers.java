package io.retort.cli;

import org.jspecify.annotations.Nullable;

/// Ranges of numeric options.
final class Numbers {
  /// Sampling steps beyond this are a slip of the finger.
  static final int MOST_STEPS = 10_000;

  /// Images of one picture; more of them are a file of many hundred megabytes.
  static final int MOST_PICTURED = 10_000;

  private Numbers() {}

  /// @throws UsageException if the option was given and is below 1
  static void positive(String option, @Nullable Number value) {
    if (value != null && value.longValue() < 1) {
      throw new UsageException("%s must be at least 1, got %s".formatted(option, value));
    }
  }

  /// @throws UsageException if the option was given and is not in 1 to `most`
  static void upTo(long most, String option, @Nullable Number value) {
    positive(option, value);
    if (value != null && value.longValue() > most) {
      throw new UsageException("%s must be at most %d, got %s".formatted(option, most, value));
    }
  }

  /// @throws UsageException if the option was given and is below 0
  static void notNegative(String option, @Nullable Number value) {
    if (value != null && value.longValue() < 0) {
      throw new UsageException("%s must be at least 0, got %s".formatted(option, value));
    }
  }
}
