package io.retort.cli;

import picocli.CommandLine.Option;

/// What every command accepts.
final class CommonOptions {
  @Option(names = "--json", description = "Print the result as one JSON document on stdout.")
  private boolean json;

  @Option(names = "--debug", description = "Show the stack trace of a failure.")
  private boolean debug;

  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      description = "Show this help and stop.")
  private boolean help;

  boolean json() {
    return json;
  }

  boolean debug() {
    return debug;
  }
}
