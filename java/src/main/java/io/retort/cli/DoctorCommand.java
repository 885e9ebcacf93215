package io.retort.cli;

import io.retort.backend.CpuBackend;
import io.retort.backend.CpuMemory;
import io.retort.bindings.NativeLinkError;
import io.retort.bindings.cpu.Cpu;
import io.retort.bindings.cpu.NativeLibrary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/// `retort doctor`: what this machine offers, what is missing, and what would be used.
@Command(
    description = "Checks this machine: JDK, processor, native libraries, memory, CUDA driver.")
@SuppressWarnings("NullAway.Init") // picocli fills mixins before the call
final class DoctorCommand implements Callable<Integer> {
  private static final List<String> LIBRARY_FOLDERS =
      List.of(
          "/usr/lib/x86_64-linux-gnu",
          "/usr/lib64",
          "/usr/lib",
          "/usr/lib/wsl/lib",
          "/usr/local/cuda/compat",
          "/usr/local/nvidia/lib64");
  private static final Path DRIVER_VERSION = Path.of("/proc/driver/nvidia/version");

  private final Console console;

  @Mixin private CommonOptions common;

  DoctorCommand(Console console) {
    this.console = console;
  }

  /// What is known of one part of the machine.
  private record Finding(Verdict verdict, String what, String found) {}

  private enum Verdict {
    GOOD("✓"),
    ABSENT("-"),
    BROKEN("✗");

    private final String mark;

    Verdict(String mark) {
      this.mark = mark;
    }
  }

  @Override
  public Integer call() {
    List<Finding> findings = new ArrayList<>(List.of(jdk(), system()));
    @Nullable NativeLinkError broken = null;
    try {
      findings.add(processor());
      findings.addAll(libraries());
    } catch (NativeLinkError missing) {
      findings.add(new Finding(Verdict.BROKEN, "library", String.valueOf(missing.getMessage())));
      broken = missing;
    }
    findings.add(cuda());
    if (broken == null) {
      findings.add(new Finding(Verdict.GOOD, "device", DeviceOption.choice()));
    }
    show(findings);
    if (broken != null) {
      throw broken;
    }
    return ExitStatus.SUCCESS;
  }

  private static Finding jdk() {
    String found =
        "%s (%s), %s"
            .formatted(
                Runtime.version(),
                System.getProperty("java.vendor"),
                System.getProperty("java.home"));
    return new Finding(Verdict.GOOD, "JDK", found);
  }

  private static Finding system() {
    String found =
        "%s %s, %s"
            .formatted(
                System.getProperty("os.name"),
                System.getProperty("os.version"),
                System.getProperty("os.arch"));
    return new Finding(Verdict.GOOD, "system", found);
  }

  private static Finding processor() {
    Cpu cpu = Cpu.detect();
    String found =
        "%s, %d cores, runs %s".formatted(cpu.model(), cpu.cores(), String.join(", ", cpu.isas()));
    return new Finding(Verdict.GOOD, "processor", found);
  }

  /// Loading is the check: every file is compared with its checksum, every symbol with its
  /// signature.
  private static List<Finding> libraries() {
    CpuMemory memory = CpuBackend.open().memory();
    return List.of(
        new Finding(
            Verdict.GOOD,
            "library",
            "%s (%s), checksum verified, %d operations"
                .formatted(
                    NativeLibrary.file(), NativeLibrary.isa(), NativeLibrary.operations().size())),
        new Finding(Verdict.GOOD, "oneDNN", NativeLibrary.oneDnnVersion()),
        new Finding(Verdict.GOOD, "threads", Integer.toString(NativeLibrary.defaultThreads())),
        new Finding(
            Verdict.GOOD,
            "memory",
            "%s for tensors, %s for the Java heap"
                .formatted(
                    TextTable.bytes(memory.budgetBytes()),
                    TextTable.bytes(Runtime.getRuntime().maxMemory()))));
  }

  /// Looks without loading: a driver that crashes must not take this command with it.
  private static Finding cuda() {
    Optional<Path> driver = driverLibrary();
    String found =
        driver.isEmpty()
            ? "no driver (libcuda.so.1 is not on this machine)"
            : "driver %s at %s, not used: the CUDA backend is not part of this build"
                .formatted(driverVersion(), driver.get());
    return new Finding(Verdict.ABSENT, "CUDA", found);
  }

  private static Optional<Path> driverLibrary() {
    String path = System.getenv().getOrDefault("LD_LIBRARY_PATH", "");
    return Stream.concat(Stream.of(path.split(":")), LIBRARY_FOLDERS.stream())
        .filter(folder -> !folder.isEmpty())
        .map(folder -> Path.of(folder, "libcuda.so.1"))
        .filter(Files::exists)
        .findFirst();
  }

  private static String driverVersion() {
    try (Stream<String> lines = Files.lines(DRIVER_VERSION)) {
      return lines.findFirst().orElse("of unknown version").replaceAll("\\s+", " ");
    } catch (IOException e) {
      return "of unknown version";
    }
  }

  private void show(List<Finding> findings) {
    if (common.json()) {
      var json = new LinkedHashMap<String, Object>();
      findings.forEach(f ->
          json.put(f.what(), Map.of("good", f.verdict() != Verdict.BROKEN, "found", f.found())));
      console.json(json);
      return;
    }
    var text = new StringBuilder();
    for (Finding f : findings) {
      text.append("%s %-10s %s%n".formatted(f.verdict().mark, f.what(), f.found()));
    }
    console.print(text.toString());
  }
}
