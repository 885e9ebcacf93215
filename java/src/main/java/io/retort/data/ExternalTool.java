package io.retort.data;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/// Runs a program of the system to its end, in a directory, within a time limit.
@FunctionalInterface
interface ExternalTool {
  /// What npm and apt-get say when they cannot reach a server.
  Pattern NETWORK_TROUBLE =
      Pattern.compile("resolv|network|connect|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|timed out");

  /// @throws DataException if the program is missing, fails or takes longer than `limit`
  void run(Path directory, Duration limit, List<String> command);

  /// Real processes: no input, output kept only to quote the first error line, killed with all
  /// their children when the time is up.
  static ExternalTool processes() {
    return ExternalTool::runProcess;
  }

  private static void runProcess(Path directory, Duration limit, List<String> command) {
    String program = command.getFirst();
    Path log = directory.resolve(program + ".log");
    Process process;
    try {
      process =
          new ProcessBuilder(command)
              .directory(directory.toFile())
              .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
              .redirectErrorStream(true)
              .redirectOutput(log.toFile())
              .start();
    } catch (IOException e) {
      throw new DataException(program, "must be installed and on the PATH, but cannot be run", e);
    }
    try {
      if (!process.waitFor(limit.toMillis(), TimeUnit.MILLISECONDS)) {
        throw new DataException(
            String.join(" ", command),
            "took longer than %d s; is the network away?".formatted(limit.toSeconds()));
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new DataException(String.join(" ", command), "was interrupted", e);
    } finally {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }
    if (process.exitValue() != 0) {
      String error = firstError(log);
      throw new DataException(
          String.join(" ", command),
          "failed with exit code %d (%s)%s"
              .formatted(
                  process.exitValue(),
                  error,
                  NETWORK_TROUBLE.matcher(error).find() ? "; is the network away?" : ""));
    }
  }

  private static String firstError(Path log) {
    try {
      String text = new String(Files.readAllBytes(log), StandardCharsets.UTF_8);
      List<String> lines = text.lines().map(String::strip).filter(l -> !l.isEmpty()).toList();
      return lines.stream()
          .filter(line -> line.startsWith("E:") || line.regionMatches(true, 0, "npm err", 0, 7))
          .findFirst()
          .orElse(lines.isEmpty() ? "it printed nothing" : lines.getLast());
    } catch (IOException e) {
      return "its output cannot be read";
    }
  }
}
