package io.retort.cli;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine;
import picocli.CommandLine.Help.Ansi;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.UnmatchedArgumentException;

/// `retort`: finds the command, fills its options, calls it, and turns whatever happens into a
/// status and a sentence.
public final class Main {
  /// Kept equal to the POM's by a test.
  static final String VERSION = "0.1.0";

  private static final int HELP_WIDTH = 100;
  private static final List<String> EVERYWHERE = List.of("--json", "--debug");

  private Main() {}

  public static void main(String[] arguments) {
    // Numbers in tables, logs and JSON do not depend on where the user lives.
    Locale.setDefault(Locale.ROOT);
    System.exit(run(Console.ofProcess(), arguments));
  }

  /// Runs one call.
  ///
  /// @return the exit status of the process
  static int run(Console console, String... arguments) {
    try {
      int status = dispatch(console, arguments);
      if (!console.intact()) {
        throw new IllegalArgumentException("the result could not be written to stdout");
      }
      return status;
    } catch (Throwable failure) {
      if (Arrays.asList(arguments).contains("--debug")) {
        console.trace(failure);
      }
      ExitStatus status = ExitStatus.of(failure);
      console.fail(status.sentence());
      status.advice().lines().forEach(console::note);
      return status.code();
    }
  }

  private static int dispatch(Console console, String... arguments) throws Exception {
    List<String> rest = new ArrayList<>(List.of(arguments));
    int first = 0;
    while (first < rest.size() && EVERYWHERE.contains(rest.get(first))) {
      first++;
    }
    String name = first < rest.size() ? rest.remove(first) : "help";
    switch (name) {
      case "help", "--help", "-h" -> console.print(overview());
      case "version", "--version", "-V" -> console.print("retort " + VERSION);
      default -> {
        Commands.Entry entry = Commands.find(name).orElseThrow(() -> unknown(name));
        return call(console, entry, rest);
      }
    }
    return ExitStatus.SUCCESS;
  }

  private static int call(Console console, Commands.Entry entry, List<String> arguments)
      throws Exception {
    Callable<Integer> command = entry.create().apply(console);
    CommandLine line =
        new CommandLine(command)
            .setCommandName("retort " + entry.name())
            .setExpandAtFiles(false)
            .setColorScheme(CommandLine.Help.defaultColorScheme(Ansi.OFF))
            .setUsageHelpWidth(HELP_WIDTH)
            .setUsageHelpAutoWidth(false);
    try {
      line.parseArgs(arguments.toArray(String[]::new));
    } catch (ParameterException wrong) {
      throw usage(wrong);
    }
    if (line.isUsageHelpRequested()) {
      console.print(line.getUsageMessage(Ansi.OFF));
      return ExitStatus.SUCCESS;
    }
    return command.call();
  }

  private static UsageException usage(ParameterException wrong) {
    String reason = wrong.getMessage();
    if (wrong instanceof UnmatchedArgumentException unmatched
        && !unmatched.getSuggestions().isEmpty()) {
      reason += "; did you mean " + String.join(" or ", unmatched.getSuggestions()) + "?";
    }
    String command = wrong.getCommandLine().getCommandSpec().qualifiedName();
    return new UsageException("%s (`%s --help` shows how)".formatted(reason, command));
  }

  private static UsageException unknown(String name) {
    String names =
        Commands.ALL.stream().map(Commands.Entry::name).collect(Collectors.joining(", "));
    return new UsageException(
        "there is no command '%s'; the commands are %s".formatted(name, names));
  }

  private static String overview() {
    var text = new StringWriter();
    var page = new PrintWriter(text);
    page.print(
        """
        Retort distils diffusion models: a teacher of dozens of steps becomes a student of one.

        Start here:
          retort distill
              makes a one-step student of an embedded teacher, on real images; ends with report.html
          retort sample runs/fashion-mnist-dmd2-el-1 --count 64 --out grid.png
              draws from the student you just made

        Commands (`retort COMMAND --help` explains one):
        """);
    Commands.ALL.forEach(entry -> page.printf("  %-9s %s%n", entry.name(), entry.summary()));
    page.print(
        """

        Every command: --json for machines, --debug for stack traces, --help.
        Exit status: 0 success, 2 wrong call, 1 anything else (one sentence on stderr says what).
        """);
    return text.toString();
  }
}
