package io.retort.bench;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;

/// Which sources this was built from.
public final class Build {
  private Build() {}

  /// The commit that a bundle was made of, or that of the repository, `-dirty` after changes; else
  /// `unknown`.
  public static String commit() {
    return commit(Path.of(System.getProperty("retort.home", ".")));
  }

  /// The same with another repository.
  static String commit(Path home) {
    String bundled = System.getProperty("retort.commit");
    if (bundled != null) {
      return bundled;
    }
    try {
      Process process =
          new ProcessBuilder(
                  List.of("git", "-C", home.toString(), "describe", "--always", "--dirty"))
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
      try (var lines = process.inputReader(StandardCharsets.UTF_8)) {
        String line = lines.readLine();
        return line == null ? "unknown" : line;
      }
    } catch (IOException e) {
      return "unknown";
    }
  }
}
