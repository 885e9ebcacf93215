package io.retort.bench;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import java.util.Map;

/// One engine in a process of its own, which takes a step whenever the driver asks for one.
///
/// The conversation is lines of text. The worker says `fact <name> <value>` for each of [#facts],
/// then `ready`; to `forward` or `train` it answers `done <seconds> <value>`; when the input ends
/// it leaves. Whatever else is printed goes to standard error.
public interface StepWorker {

  /// What can be asked for.
  enum Kind {
    /// Denoised images, nothing kept for a backward pass.
    FORWARD,

    /// Loss, gradients of every weight, one update of Adam.
    TRAIN;

    String command() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /// Engine, version, and number of parameters under the key `parameters`.
  Map<String, String> facts();

  /// Takes one step.
  ///
  /// @return mean square of the denoised images, or the loss
  double step(Kind kind);

  /// Answers the driver until it hangs up.
  static void serve(StepWorker worker) throws IOException {
    PrintStream answers = System.out;
    System.setOut(System.err);
    worker.facts().forEach((name, value) -> answers.println("fact " + name + " " + value));
    answers.println("ready");
    answers.flush();
    var commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = commands.readLine(); line != null; line = commands.readLine()) {
      Kind kind = Kind.valueOf(line.toUpperCase(Locale.ROOT));
      long started = System.nanoTime();
      double value = worker.step(kind);
      double seconds = (System.nanoTime() - started) / 1e9;
      answers.println("done " + seconds + " " + value);
      answers.flush();
    }
  }
}
