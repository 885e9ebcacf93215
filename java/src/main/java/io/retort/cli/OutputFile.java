package io.retort.cli;

import io.retort.checkpoint.AtomicFile;
import io.retort.checkpoint.CheckpointException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/// A file that a command will write at its end: what can be known to be wrong is said at its start.
record OutputFile(Path path, String kind) {

  /// Checks the ending of the name and the place.
  ///
  /// @param kinds endings without a dot
  /// @throws UsageException for another ending
  /// @throws CheckpointException if nothing can be written there
  static OutputFile of(Path path, String... kinds) {
    String kind = kind(path, kinds);
    Path folder = path.toAbsolutePath().getParent();
    if (folder == null || !Files.isDirectory(folder)) {
      throw new CheckpointException(path, "", "its folder does not exist");
    }
    if (!Files.isWritable(folder) || Files.isDirectory(path)) {
      throw new CheckpointException(path, "", "cannot be written");
    }
    return new OutputFile(path, kind);
  }

  /// The one of `kinds` that the name ends in.
  ///
  /// @throws UsageException for another ending
  static String kind(Path path, String... kinds) {
    String name = String.valueOf(path.getFileName()).toLowerCase(Locale.ROOT);
    return List.of(kinds).stream()
        .filter(ending -> name.endsWith("." + ending))
        .findFirst()
        .orElseThrow(() ->
            new UsageException(
                "--out %s must end in .%s".formatted(path, String.join(" or .", kinds))));
  }

  /// Writes the whole file, or nothing.
  void write(byte[] content) {
    try {
      AtomicFile.write(path, content);
    } catch (IOException failure) {
      throw AtomicFile.failure(path, failure);
    }
  }
}
