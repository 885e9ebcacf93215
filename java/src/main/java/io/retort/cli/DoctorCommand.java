package io.retort.cli;

import io.retort.backend.CpuBackend;
import io.retort.backend.CpuMemory;
import io.retort.backend.CudaBackend;
import io.retort.bindings.NativeLinkError;
import io.retort.bindings.cpu.Cpu;
import io.retort.bindings.cpu.NativeLibrary;
import io.retort.bindings.cuda.CudaException;
import io.retort.op.UnsupportedOpException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/// `retort doctor`: what this machine offers, what is missing, and what would be used.
@Command(
    description = "Checks this machine: JDK, processor, native libraries, memory, CUDA driver.")
@SuppressWarnings("NullAway.Init") // picocli fills mixins before the call
final class DoctorCommand implements Callable<Integer> {
  private final Console console;

  @Mixin private DeviceOption device;
  @Mixin private CommonOptions common;

  DoctorCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    device.validate();
    List<Finding> findings = new ArrayList<>(List.of(jdk(), system()));
    @Nullable String failure = null;
    try {
      findings.add(processor());
      findings.addAll(libraries());
    } catch (NativeLinkError broken) {
      failure = String.valueOf(broken.getMessage());
      findings.add(Finding.broken("library", failure));
    }
    findings.addAll(CudaFindings.of(device.binding(), device.library()));
    if (failure == null) {
      try {
        DeviceOption.Choice choice = device.choose();
        findings.add(Finding.good("device", choice.toString()));
        if (choice.backend() instanceof CudaBackend cuda) {
          findings.add(Finding.good("products", cuda.productSummary()));
          findings.add(Finding.good("graphs", device.graphSummary()));
        }
      } catch (NativeLinkError | CudaException | UnsupportedOpException broken) {
        failure = String.valueOf(broken.getMessage());
        findings.add(Finding.broken("device", failure));
      }
    }
    show(findings);
    if (failure != null) {
      console.fail(failure);
      return ExitStatus.FAILURE;
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
    return Finding.good("JDK", found);
  }

  private static Finding system() {
    String found =
        "%s %s, %s"
            .formatted(
                System.getProperty("os.name"),
                System.getProperty("os.version"),
                System.getProperty("os.arch"));
    return Finding.good("system", found);
  }

  private static Finding processor() {
    Cpu cpu = Cpu.detect();
    String found =
        "%s, %d cores, runs %s".formatted(cpu.model(), cpu.cores(), String.join(", ", cpu.isas()));
    return Finding.good("processor", found);
  }

  /// Loading is the check: every file is compared with its checksum, every symbol with its
  /// signature.
  private static List<Finding> libraries() {
    CpuMemory memory = CpuBackend.open().memory();
    return List.of(
        Finding.good(
            "library",
            "%s (%s), checksum verified, %d operations"
                .formatted(
                    NativeLibrary.file(), NativeLibrary.isa(), NativeLibrary.operations().size())),
        Finding.good("oneDNN", NativeLibrary.oneDnnVersion()),
        Finding.good("threads", Integer.toString(NativeLibrary.defaultThreads())),
        Finding.good(
            "memory",
            "%s for tensors, %s for the Java heap"
                .formatted(
                    TextTable.bytes(memory.budgetBytes()),
                    TextTable.bytes(Runtime.getRuntime().maxMemory()))));
  }

  private void show(List<Finding> findings) {
    if (common.json()) {
      var json = new LinkedHashMap<String, Object>();
      findings.forEach(f ->
          json.put(
              f.what(), Map.of("good", f.verdict() != Finding.Verdict.BROKEN, "found", f.found())));
      console.json(json);
      return;
    }
    var text = new StringBuilder();
    for (Finding f : findings) {
      text.append("%s %-10s %s%n".formatted(f.verdict().mark(), f.what(), f.found()));
    }
    console.print(text.toString());
  }
}
