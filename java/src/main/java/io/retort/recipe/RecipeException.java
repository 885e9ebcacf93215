package io.retort.recipe;

/// A recipe cannot be used: where, which key, and why.
public final class RecipeException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /// @param where file and line, or the option that set the key
  public RecipeException(String where, String key, String reason) {
    super(where + ": " + (key.isEmpty() ? "" : key + ": ") + reason);
  }
}
