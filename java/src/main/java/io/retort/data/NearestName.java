package io.retort.data;

import java.util.Arrays;
import java.util.Collection;

/// What to say about a key or name that nobody knows: the known one that is most like it.
public final class NearestName {

  private NearestName() {}

  /// The end of a sentence: `is unknown; the nearest key is ...`, with all known keys where the
  /// nearest is not near.
  ///
  /// @param known at least one
  public static String unknown(String key, Collection<String> known) {
    String nearest = of(key, known);
    return distance(key, nearest) <= Math.max(2, key.length() / 2)
        ? "is unknown; the nearest key is " + nearest
        : "is unknown; the nearest key is %s, all keys here are %s"
            .formatted(nearest, String.join(", ", known));
  }

  /// The known name with the fewest edits to `name`, the first of several.
  ///
  /// @param known at least one
  public static String of(String name, Collection<String> known) {
    String nearest = "";
    int least = Integer.MAX_VALUE;
    for (String candidate : known) {
      int distance = distance(name, candidate);
      if (distance < least) {
        least = distance;
        nearest = candidate;
      }
    }
    return nearest;
  }

  /// Levenshtein's distance.
  private static int distance(String a, String b) {
    int[] row = new int[b.length() + 1];
    Arrays.setAll(row, j -> j);
    for (int i = 1; i <= a.length(); i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j <= b.length(); j++) {
        int replaced = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        diagonal = row[j];
        row[j] = Math.min(replaced, 1 + Math.min(row[j], row[j - 1]));
      }
    }
    return row[b.length()];
  }
}
