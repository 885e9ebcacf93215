package io.retort.checkpoint;

import java.util.Map;

/// The names that attention in diffusers' U-Nets had in files of its first year.
final class OlderNames {
  private static final Map<String, String> PARTS =
      Map.of(
          ".to_q.", ".query.", ".to_k.", ".key.", ".to_v.", ".value.", ".to_out.0.", ".proj_attn.");

  private OlderNames() {}

  /// The older name of a parameter; the same where it never had another.
  static String of(String name) {
    for (Map.Entry<String, String> part : PARTS.entrySet()) {
      if (name.contains(".attentions.") && name.contains(part.getKey())) {
        return name.replace(part.getKey(), part.getValue());
      }
    }
    return name;
  }
}
