package io.retort.recipe;

import io.retort.data.Printable;

/// A recipe cannot be used: where, which key, and why.
public final class RecipeException extends RuntimeException {
  private static final long serialVersionUID = 1L;
  private static final int LONGEST_REASON = 500;

  /// @param where file and line, or the option that set the key
  public RecipeException(String where, String key, String reason) {
    super(
        Printable.line(where)
            + ": "
            + (key.isEmpty() ? "" : Printable.name(key) + ": ")
            + Printable.line(reason, LONGEST_REASON));
  }
}
