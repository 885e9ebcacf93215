package io.retort.cli;

import io.retort.data.Json;
import java.io.BufferedWriter;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/// Results to stdout, everything else to stderr, in UTF-8.
///
/// Safe for use by several threads; one moving progress line at a time.
final class Console {
  private static final long MOVING_NANOS = Duration.ofMillis(100).toNanos();
  private static final long LOGGED_NANOS = Duration.ofSeconds(10).toNanos();
  private static final String CLEAR_LINE = "\r\033[K";

  private final PrintStream out;
  private final PrintStream err;
  private final boolean terminal;
  private long lastProgress;
  private boolean moving;
  private @Nullable String announcement;

  /// @param terminal whether a line on `err` can be rewritten in place
  Console(PrintStream out, PrintStream err, boolean terminal) {
    this.out = out;
    this.err = err;
    this.terminal = terminal;
    lastProgress = System.nanoTime();
  }

  /// The streams of this process.
  static Console ofProcess() {
    return new Console(
        stream(FileDescriptor.out, false), stream(FileDescriptor.err, true), isTerminal());
  }

  private static PrintStream stream(FileDescriptor descriptor, boolean autoFlush) {
    return new PrintStream(new FileOutputStream(descriptor), autoFlush, StandardCharsets.UTF_8);
  }

  /// Asks the system: the JDK's own console costs a tenth of a second to load.
  private static boolean isTerminal() {
    try {
      String device = Path.of("/proc/self/fd/2").toRealPath().toString();
      return device.startsWith("/dev/pts/") || device.startsWith("/dev/tty");
    } catch (IOException | SecurityException e) {
      return false;
    }
  }

  /// A result.
  synchronized void print(String text) {
    begin();
    out.print(text.endsWith("\n") ? text : text + "\n");
    out.flush();
  }

  /// A result that is made while it is printed; it ends with a line feed.
  synchronized void print(Printed result) {
    begin();
    try {
      Writer writer = new BufferedWriter(new OutputStreamWriter(out, out.charset()));
      result.print(writer);
      writer.flush();
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
    out.flush();
  }

  /// What prints a result piece by piece.
  @FunctionalInterface
  interface Printed {
    void print(Appendable out) throws IOException;
  }

  /// The result of a command that was called with `--json`.
  void json(@Nullable Object value) {
    print(out -> Json.writeIndented(out, value));
  }

  /// A remark for people.
  synchronized void note(String sentence) {
    begin();
    err.println(sentence);
  }

  /// A remark that is made when work begins; a call that fails before has only its failure to tell.
  synchronized void announce(String sentence) {
    announcement = sentence;
  }

  /// Why the command failed.
  synchronized void fail(String sentence) {
    endProgress();
    err.println("retort: " + sentence);
  }

  /// How far something is: a moving line on a terminal, elsewhere a line every ten seconds.
  synchronized void progress(String line) {
    if (announcement != null) {
      begin();
    }
    long now = System.nanoTime();
    if (now - lastProgress < (terminal ? MOVING_NANOS : LOGGED_NANOS)) {
      return;
    }
    lastProgress = now;
    if (terminal) {
      err.print(CLEAR_LINE + line);
      err.flush();
      moving = true;
    } else {
      err.println(line);
    }
  }

  /// A stack trace, for `--debug`.
  synchronized void trace(Throwable failure) {
    endProgress();
    failure.printStackTrace(err);
  }

  /// Whether everything that was printed has arrived.
  synchronized boolean intact() {
    endProgress();
    return !out.checkError();
  }

  /// Ends the progress line and makes the announcement that waits for this.
  private void begin() {
    endProgress();
    if (announcement != null) {
      err.println(announcement);
      announcement = null;
    }
  }

  private void endProgress() {
    if (moving) {
      err.print(CLEAR_LINE);
      err.flush();
      moving = false;
    }
  }
}
