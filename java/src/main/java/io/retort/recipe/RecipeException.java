package io.retort.recipe;

/// A recipe cannot be used: where, which key, and why.
public final class RecipeException extends RuntimeException {
  private static final long serialVersionUID = 1L;
  private static final int LONGEST_REASON = 500;

  /// @param where file and line, or the option that set the key
  public RecipeException(String where, String key, String reason) {
    super(where + ": " + (key.isEmpty() ? "" : key + ": ") + shortened(reason));
  }

  /// What was given instead may be very long.
  private static String shortened(String reason) {
    return reason.length() <= LONGEST_REASON
        ? reason
        : reason.substring(0, LONGEST_REASON - 3) + "...";
  }
}
