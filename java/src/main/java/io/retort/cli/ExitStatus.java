package io.retort.cli;

import io.retort.bindings.NativeCallException;
import io.retort.bindings.NativeLinkError;
import io.retort.bindings.cuda.CudaException;
import io.retort.checkpoint.AtomicFile;
import io.retort.checkpoint.CheckpointException;
import io.retort.data.DataException;
import io.retort.data.Json.JsonException;
import io.retort.data.Printable;
import io.retort.op.UnsupportedOpException;
import io.retort.recipe.RecipeException;
import io.retort.report.RunException;
import io.retort.tensor.DTypeException;
import io.retort.tensor.TensorMemoryException;
import io.retort.train.DivergedException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileSystemException;
import java.util.Locale;

/// What a failure becomes: a status for the shell and one sentence for a reader.
///
/// @param code 2 for a wrong call, else 1
/// @param sentence one line without control characters
/// @param advice lines of our own that belong under it, usually none
record ExitStatus(int code, String sentence, String advice) {
  static final int SUCCESS = 0;
  static final int FAILURE = 1;
  static final int USAGE = 2;

  /// The status of a throwable of any kind.
  static ExitStatus of(Throwable failure) {
    int code = failure instanceof UsageException ? USAGE : FAILURE;
    String advice = failure instanceof CheckpointException refused ? refused.advice() : "";
    return new ExitStatus(code, Printable.line(explain(failure).strip()), advice);
  }

  private static String explain(Throwable failure) {
    return switch (failure) {
      case UsageException _,
          RecipeException _,
          RunException _,
          CheckpointException _,
          DataException _,
          DivergedException _,
          DTypeException _,
          TensorMemoryException _,
          UnsupportedOpException _,
          NativeCallException _,
          NativeLinkError _,
          CudaException _,
          JsonException _ ->
          message(failure);
      case UncheckedIOException io
          when io.getCause() instanceof IOException cause && message(io).equals(cause.toString()) ->
          explain(cause);
      case UncheckedIOException _ -> message(failure);
      case FileSystemException file -> file.getFile() + ": " + AtomicFile.reason(file);
      case IOException io -> AtomicFile.reason(io);
      case OutOfMemoryError _ ->
          ("the Java heap of %.1f GB is full; ask for fewer images at once, or allow more with"
                  + " RETORT_JVM_OPTS=-Xmx8g")
              .formatted(Runtime.getRuntime().maxMemory() / 1e9);
      case InternalError _ -> "a file became shorter while it was read";
      case StackOverflowError _ -> "the input is nested too deeply";
      case ExceptionInInitializerError e when e.getCause() != null -> explain(e.getCause());
      case IllegalArgumentException _ when thrownHere(failure) -> message(failure);
      default ->
          "internal error: %s (run it again with --debug for the stack trace)".formatted(failure);
    };
  }

  /// Our own checks say what was wrong with an argument; the library's do not say it to a user.
  private static boolean thrownHere(Throwable failure) {
    StackTraceElement[] trace = failure.getStackTrace();
    return failure.getMessage() != null
        && trace.length > 0
        && trace[0].getClassName().startsWith("io.retort.");
  }

  private static String message(Throwable failure) {
    String message = failure.getMessage();
    return message == null ? failure.getClass().getSimpleName().toLowerCase(Locale.ROOT) : message;
  }
}
