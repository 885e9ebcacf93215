package io.retort.bench;

import java.io.BufferedReader;
import java.io.Closeable;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;

/// An engine that waits in its own process and takes a step when told to; see [StepWorker] for the
/// conversation.
final class StepContestant implements Closeable {
  private static final double TICKS_PER_SECOND = 100;

  /// Before a sample at real-time priority: the kernel takes the processor away where such work
  /// fills 95 % of a second.
  private static final long PAUSE_MILLISECONDS = 150;

  /// How to start one.
  ///
  /// @param name as in the table
  /// @param command with arguments
  /// @param environment added to this process's
  record Start(String name, List<String> command, Map<String, String> environment) {}

  /// One step.
  ///
  /// @param foreignCores what other processes used meanwhile
  /// @param value what the worker computed
  record Sample(double seconds, double foreignCores, double value) {}

  private final String name;
  private final Process process;
  private final BufferedReader answers;
  private final PrintWriter commands;
  private final Map<String, String> facts = new HashMap<>();
  private final Map<String, List<Sample>> samples = new HashMap<>();

  /// Starts the process and waits until it is ready.
  StepContestant(Start start, Path log) throws IOException {
    name = start.name();
    var builder = new ProcessBuilder(start.command());
    builder.environment().putAll(start.environment());
    builder.redirectError(ProcessBuilder.Redirect.appendTo(log.toFile()));
    process = builder.start();
    answers = process.inputReader(StandardCharsets.UTF_8);
    commands =
        new PrintWriter(
            new OutputStreamWriter(process.getOutputStream(), StandardCharsets.UTF_8), true);
    for (String line = answer(); !line.equals("ready"); line = answer()) {
      String[] words = line.split(" ", 3);
      if (words.length == 3 && words[0].equals("fact")) {
        facts.put(words[1], words[2]);
      }
    }
  }

  private String answer() throws IOException {
    String line = answers.readLine();
    if (line == null) {
      throw new IOException(name + " ended without an answer");
    }
    return line;
  }

  String name() {
    return name;
  }

  String fact(String key) {
    return facts.getOrDefault(key, "");
  }

  /// Whether it can do a row's work.
  boolean does(BenchRow row) {
    return List.of(fact("rows").split(" ")).contains(row.name());
  }

  /// What counts, in the order it was taken.
  List<Sample> samples(BenchRow row) {
    return List.copyOf(samples.getOrDefault(row.name(), List.of()));
  }

  /// Takes one sample that counts.
  void sample(BenchRow row, boolean realtime) throws IOException {
    samples
        .computeIfAbsent(row.name(), unused -> new ArrayList<>())
        .add(run(row.name() + " " + row.times(), realtime));
  }

  /// Does a row's work once with hashed numbers.
  Sample check(BenchRow row, boolean realtime) throws IOException {
    return run(row.name() + " check", realtime);
  }

  /// @param realtime at real-time priority, so that a busy machine disturbs it little
  private Sample run(String command, boolean realtime) throws IOException {
    if (realtime) {
      LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(PAUSE_MILLISECONDS));
    }
    schedule(realtime, "--fifo", "1");
    double busyBefore = busySeconds();
    long started = System.nanoTime();
    double ownBefore = ownSeconds();
    commands.println(command);
    String[] words = answer().split(" ");
    double own = ownSeconds() - ownBefore;
    double busy = busySeconds() - busyBefore;
    double wall = (System.nanoTime() - started) / 1e9;
    schedule(realtime, "--other", "0");
    if (words.length != 3 || !words[0].equals("done")) {
      throw new IOException(name + " answered " + String.join(" ", words));
    }
    double seconds = Double.parseDouble(words[1]);
    return new Sample(seconds, Math.max(0, busy - own) / wall, Double.parseDouble(words[2]));
  }

  private void schedule(boolean realtime, String policy, String priority) throws IOException {
    if (realtime) {
      String pid = Long.toString(process.pid());
      var chrt = new ProcessBuilder("chrt", "--all-tasks", policy, "--pid", priority, pid).start();
      if (!ended(chrt, 10) || chrt.exitValue() != 0) {
        throw new IOException("--realtime needs chrt and the right to use it");
      }
    }
  }

  /// Processor seconds the whole machine has spent on work.
  private static double busySeconds() throws IOException {
    try (Stream<String> lines = Files.lines(Path.of("/proc/stat"))) {
      String[] ticks = lines.findFirst().orElseThrow().trim().split(" +");
      double total = Stream.of(ticks).skip(1).limit(8).mapToDouble(Double::parseDouble).sum();
      return (total - Double.parseDouble(ticks[4]) - Double.parseDouble(ticks[5]))
          / TICKS_PER_SECOND;
    }
  }

  private double ownSeconds() {
    return process.info().totalCpuDuration().orElse(Duration.ZERO).toMillis() / 1e3;
  }

  @Override
  public void close() {
    commands.close();
    if (!ended(process, 10)) {
      process.destroyForcibly();
    }
  }

  private static boolean ended(Process process, int seconds) {
    try {
      return process.waitFor(seconds, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }
}
