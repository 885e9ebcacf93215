package io.retort.cli;

import io.retort.backend.CpuBackend;
import io.retort.bindings.cpu.NativeLibrary;
import io.retort.op.Backend;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/// Where a command computes.
final class DeviceOption {
  @Option(
      names = "--device",
      paramLabel = "cpu|cuda|auto",
      description = "Where to compute; auto says what it chose and why (default: auto).")
  private @Nullable String device;

  /// Opens the chosen backend; says so if it was asked to choose, or if `announced`.
  ///
  /// @param announced whether the choice is worth a line even if the user left it open
  Backend open(Console console, boolean announced) {
    validate();
    CpuBackend backend = CpuBackend.open();
    if ("auto".equals(device) || (announced && device == null)) {
      console.announce("device: " + choice());
    }
    return backend;
  }

  /// Refuses a device that is unknown or absent, without loading anything.
  void validate() {
    switch (device) {
      case null -> {}
      case "auto", "cpu" -> {}
      case "cuda" ->
          throw new IllegalArgumentException(
              "--device cuda: the CUDA backend is not part of this build");
      default ->
          throw new UsageException(
              "--device must be cpu, cuda or auto, got '%s'".formatted(device));
    }
  }

  /// What `auto` means in this build, and why.
  static String choice() {
    return "cpu (%s, %d threads), because the CUDA backend is not part of this build"
        .formatted(NativeLibrary.isa(), NativeLibrary.defaultThreads());
  }
}
