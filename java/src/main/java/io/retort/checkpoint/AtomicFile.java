package io.retort.checkpoint;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Locale;
import java.util.concurrent.ThreadLocalRandom;

/// Replaces a file as a whole: whoever opens it sees the old content or the new one, never a part,
/// whenever the process or the machine stops.
///
/// The content goes to a temporary file beside the target, is forced to the disk, and is renamed
/// over the target; then the directory is forced. On any failure the temporary file is removed and
/// the target stays as it was. Only a killed process leaves one behind; [#sweep] removes those.
public final class AtomicFile {
  private static final String SUFFIX = ".retort-partial";

  /// Produces the content of a file.
  @FunctionalInterface
  public interface Body {
    void writeTo(WritableByteChannel out) throws IOException;
  }

  private AtomicFile() {}

  /// Writes `body` and puts it in the place of `target`, whose directory must exist.
  public static void write(Path target, Body body) throws IOException {
    Path absolute = target.toAbsolutePath();
    Path directory = absolute.getParent();
    if (directory == null || Files.isDirectory(absolute)) {
      throw new FileSystemException(target.toString(), null, "is a directory");
    }
    Path partial = partialBeside(absolute, directory);
    try {
      try (var channel =
          FileChannel.open(partial, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW)) {
        body.writeTo(channel);
        channel.force(true);
      }
      Files.move(
          partial, absolute, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (Throwable failure) {
      removeAfter(failure, partial);
      throw failure;
    }
    forceDirectory(directory);
  }

  /// The same for content that is already in memory.
  public static void write(Path target, byte[] content) throws IOException {
    write(target, out -> writeFully(out, ByteBuffer.wrap(content)));
  }

  /// Removes what killed writers left in `directory`. Call it only where no other process writes.
  public static void sweep(Path directory) throws IOException {
    try (var leftovers = Files.newDirectoryStream(directory, ".*" + SUFFIX)) {
      for (Path leftover : leftovers) {
        Files.deleteIfExists(leftover);
      }
    }
  }

  /// Why a file operation failed, as a clause for the end of a sentence that already names the
  /// file.
  public static String reason(IOException failure) {
    return switch (failure) {
      case NoSuchFileException _ -> "no such file or directory";
      case AccessDeniedException _ -> "permission denied";
      case NotDirectoryException _ -> "not a directory";
      case FileAlreadyExistsException _ -> "exists already";
      case AtomicMoveNotSupportedException _ -> "the file system cannot rename atomically";
      case FileSystemException detailed when detailed.getReason() != null ->
          lowerFirst(detailed.getReason());
      default -> {
        String message = failure.getMessage();
        yield message == null ? failure.getClass().getSimpleName() : lowerFirst(message);
      }
    };
  }

  /// `FILE: REASON` as an unchecked exception, for writers whose callers cannot carry on without
  /// the file.
  public static UncheckedIOException failure(Path file, IOException cause) {
    return new UncheckedIOException(file + ": " + reason(cause), cause);
  }

  /// Writes all of `buffer`, however many calls that takes.
  static void writeFully(WritableByteChannel out, ByteBuffer buffer) throws IOException {
    while (buffer.hasRemaining()) {
      out.write(buffer);
    }
  }

  private static Path partialBeside(Path target, Path directory) {
    long tag = ThreadLocalRandom.current().nextLong();
    return directory.resolve(
        "." + target.getFileName() + "." + Long.toUnsignedString(tag, 36) + SUFFIX);
  }

  private static void removeAfter(Throwable failure, Path partial) {
    try {
      Files.deleteIfExists(partial);
    } catch (IOException second) {
      failure.addSuppressed(second);
    }
  }

  /// Makes the rename itself survive a power failure, on systems that can open a directory.
  private static void forceDirectory(Path directory) throws IOException {
    if (!System.getProperty("os.name", "").toLowerCase(Locale.ROOT).contains("windows")) {
      try (var channel = FileChannel.open(directory, StandardOpenOption.READ)) {
        channel.force(true);
      }
    }
  }

  private static String lowerFirst(String text) {
    return text.isEmpty() || (text.length() > 1 && Character.isUpperCase(text.charAt(1)))
        ? text
        : Character.toLowerCase(text.charAt(0)) + text.substring(1);
  }
}
