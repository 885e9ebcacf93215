package io.retort.checkpoint;

import io.retort.data.DataException;
import java.io.IOException;
import java.nio.file.Path;

/// A checkpoint or array file cannot be read or written: one sentence that names the file, the
/// tensor if there is one, and the reason.
public final class CheckpointException extends RuntimeException {
  private static final long serialVersionUID = 1L;
  private static final int LONGEST_NAME = 80;
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
    super(sentence(file, tensor, shortened(reason)));
    this.file = file;
    this.tensor = tensor;
    this.reason = shortened(reason);
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

  private static String shortened(String reason) {
    return reason.length() <= LONGEST_REASON
        ? reason
        : reason.substring(0, LONGEST_REASON - 3) + "...";
  }

  private static String sentence(Path file, String tensor, String reason) {
    return tensor.isEmpty()
        ? file + ": " + reason
        : file + ": tensor \"" + printable(tensor) + "\": " + reason;
  }

  /// Names come from files: control characters must not reach a terminal, and a megabyte of name
  /// helps nobody.
  static String printable(String name) {
    String clean = name.replaceAll("[\\p{Cntrl}\\p{Cf}]", "?");
    return clean.length() <= LONGEST_NAME ? clean : clean.substring(0, LONGEST_NAME - 3) + "...";
  }
}
