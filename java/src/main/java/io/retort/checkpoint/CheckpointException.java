package io.retort.checkpoint;

import io.retort.data.DataException;
import io.retort.data.Printable;
import java.io.IOException;
import java.nio.file.Path;

/// A checkpoint or array file cannot be read or written: one sentence that names the file, the
/// tensor if there is one, and the reason.
public final class CheckpointException extends RuntimeException {
  private static final long serialVersionUID = 1L;
  private static final int LONGEST_REASON = 1000;

  private final transient Path file;
  private final String tensor;
  private final String reason;
  private final String advice;

  /// `tensor` is empty where the whole file is meant; `reason` is a clause without a capital or a
  /// full stop.
  public CheckpointException(Path file, String tensor, String reason) {
    this(file, tensor, reason, "");
  }

  /// The same with `advice`: lines of our own, such as a program, that a reader needs beside the
  /// sentence.
  CheckpointException(Path file, String tensor, String reason, String advice) {
    super(sentence(file, tensor, Printable.line(reason, LONGEST_REASON)));
    this.file = file;
    this.tensor = tensor;
    this.reason = Printable.line(reason, LONGEST_REASON);
    this.advice = advice;
  }

  /// The same for a failure of the file system.
  public CheckpointException(Path file, String tensor, IOException cause) {
    this(file, tensor, AtomicFile.reason(cause));
    initCause(cause);
  }

  /// The same for a damaged container, whose own sentence names the file first.
  static CheckpointException of(Path file, DataException damaged) {
    String inside = damaged.file().replace(file.toString(), "").replaceFirst("^: ", "");
    return new CheckpointException(
        file, "", inside.isEmpty() ? damaged.reason() : inside + " " + damaged.reason());
  }

  public Path file() {
    return file;
  }

  /// The tensor's name, empty where the whole file is meant.
  public String tensor() {
    return tensor;
  }

  public String reason() {
    return reason;
  }

  /// Lines to show under the sentence, usually none.
  public String advice() {
    return advice;
  }

  private static String sentence(Path file, String tensor, String reason) {
    String where = tensor.isEmpty() ? "" : ": tensor \"" + Printable.name(tensor) + "\"";
    return Printable.line(file + where + ": " + reason);
  }
}
