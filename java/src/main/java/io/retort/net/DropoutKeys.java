package io.retort.net;

import io.retort.tensor.PhiloxKey;
import org.jspecify.annotations.Nullable;

/// The keys of one pass' dropout masks, one after the other.
final class DropoutKeys {
  private final @Nullable PhiloxKey first;
  private int used;

  /// Keys from `first` on, or none.
  DropoutKeys(@Nullable PhiloxKey first) {
    this.first = first;
  }

  /// The next mask's key, null where dropout is off.
  @Nullable PhiloxKey next() {
    return first == null ? null : first.stream(first.stream() + used++);
  }
}
