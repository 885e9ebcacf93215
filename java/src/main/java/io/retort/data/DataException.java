package io.retort.data;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/// Data that cannot be used, said in one sentence: `<file>: <reason>`.
public final class DataException extends RuntimeException {
  private final String file;
  private final String reason;

  /// @param file the file, data set or tool at fault
  /// @param reason what is wrong with it, and what would be right
  public DataException(String file, String reason) {
    this(file, reason, null);
  }

  DataException(String file, String reason, @Nullable Throwable cause) {
    super(Printable.line(file + ": " + reason), cause);
    this.file = file;
    this.reason = Printable.line(reason);
  }

  /// The sentence for a failed read of `path`.
  static DataException of(Path path, IOException failure) {
    return of(path, "", failure);
  }

  /// The sentence for a failed use of `path`: `prefix`, then what the system said.
  static DataException of(Path path, String prefix, IOException failure) {
    String reason =
        switch (failure) {
          case NoSuchFileException _ -> "does not exist";
          case AccessDeniedException _ -> "may not be accessed with this user's rights";
          case FileSystemException f when f.getReason() != null -> f.getReason();
          default ->
              Objects.requireNonNullElse(failure.getMessage(), failure.getClass().getSimpleName());
        };
    return new DataException(path.toString(), prefix + reason, failure);
  }

  public String file() {
    return file;
  }

  public String reason() {
    return reason;
  }
}
