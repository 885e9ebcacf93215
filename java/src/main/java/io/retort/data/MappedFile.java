package io.retort.data;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/// A whole file as read-only memory: the system brings in what is looked at, nothing is copied.
///
/// May be read by several threads. A file that another process makes shorter meanwhile ends a read
/// with an [InternalError]; one that is replaced by a rename stays what it was.
///
/// @param bytes the content, valid until this is closed
public record MappedFile(Path path, MemorySegment bytes, Arena arena) implements AutoCloseable {

  /// Maps a regular file.
  ///
  /// @throws IOException if it cannot be opened, or is no regular file
  @SuppressWarnings("MustBeClosedChecker") // the record owns the arena
  public static MappedFile open(Path path) throws IOException {
    if (Files.exists(path) && !Files.isRegularFile(path)) {
      throw new FileSystemException(path.toString(), null, "is not a regular file");
    }
    try (var channel = FileChannel.open(path, StandardOpenOption.READ)) {
      Arena arena = Arena.ofShared();
      try {
        return new MappedFile(
            path, channel.map(MapMode.READ_ONLY, 0, channel.size(), arena), arena);
      } catch (IOException | RuntimeException failure) {
        arena.close();
        throw failure;
      }
    }
  }

  public long size() {
    return bytes.byteSize();
  }

  @Override
  public void close() {
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }
}
