package io.retort.cli;

import io.retort.report.Run;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/// `retort resume`: takes a stopped run up again.
@Command(
    description =
        "Continues a run from its newest checkpoint, bit for bit as if it had never stopped.",
    footer = "%nExample: retort resume runs/fashion-mnist-dmd2-el-1")
@SuppressWarnings("NullAway.Init") // picocli fills required fields before the call
final class ResumeCommand implements Callable<Integer> {
  private final Console console;

  @Parameters(paramLabel = "DIR", description = "The run directory.")
  private Path directory;

  @Mixin private DeviceOption device;
  @Mixin private CommonOptions common;

  ResumeCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    return new RunSession(console, common, device)
        .carryOut((backend, options) -> Run.resume(directory, backend, options));
  }
}
