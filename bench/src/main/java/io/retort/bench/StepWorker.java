package io.retort.bench;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;

/// One engine in a process of its own, which does a [BenchRow]'s work whenever the driver asks.
///
/// The conversation is lines of text. The worker says `fact <name> <value>` for each of [#facts]
/// and for its rows, then `ready`; to `<row> <times>` it answers `done <seconds> <value>`, seconds
/// of one time; to `<row> check` the same of one time with hashed numbers in place of random ones;
/// when the input ends it leaves. Whatever else is printed goes to standard error.
public interface StepWorker extends AutoCloseable {

  /// Engine, version, and number of parameters under the key `parameters`.
  Map<String, String> facts();

  /// Names of the rows it can do.
  List<String> rows();

  /// Does a row's work once.
  ///
  /// @param check with hashed numbers, so that every engine must arrive at the same value
  /// @return a number that depends on all of the work, as the row defines it
  double run(String row, boolean check);

  /// Gives back what it holds; an engine that ends with its process need not.
  @Override
  default void close() {}

  /// Answers the driver until it hangs up.
  static void serve(StepWorker worker) throws IOException {
    PrintStream answers = System.out;
    System.setOut(System.err);
    worker.facts().forEach((name, value) -> answers.println("fact " + name + " " + value));
    answers.println("fact rows " + String.join(" ", worker.rows()));
    answers.println("ready");
    answers.flush();
    var commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = commands.readLine(); line != null; line = commands.readLine()) {
      String[] words = line.split(" ");
      boolean check = words[1].equals("check");
      int times = check ? 1 : Integer.parseInt(words[1]);
      double value = 0;
      long started = System.nanoTime();
      for (int i = 0; i < times; i++) {
        value = worker.run(words[0], check);
      }
      double seconds = (System.nanoTime() - started) / 1e9 / times;
      answers.println("done " + seconds + " " + value);
      answers.flush();
    }
  }
}
