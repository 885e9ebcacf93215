package io.retort.bench;

import com.sun.management.OperatingSystemMXBean;
import io.retort.backend.CpuBackend;
import io.retort.checkpoint.ModelFile;
import io.retort.diffusion.Denoiser;
import io.retort.grad.Parameters;
import io.retort.net.SongUNet;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/// How long a checkpoint of the size of EDM's CIFAR-10 network (55.7 M parameters, 223 MB) takes to
/// load, and how often its weights then lie in memory.
///
/// The weights are random; the file is written first, so the system has it cached. The first load
/// is that of a process that has compiled nothing yet.
@Command(
    name = "retort bench load",
    mixinStandardHelpOptions = true,
    description = "Times loading a checkpoint of 55.7 M parameters.")
public final class LoadBench implements Callable<Integer> {
  @Option(names = "--loads", description = "How often it is loaded (${DEFAULT-VALUE}).")
  private int loads = 9;

  private final CpuBackend backend = CpuBackend.open();

  public static void main(String... arguments) {
    System.exit(new CommandLine(new LoadBench()).execute(arguments));
  }

  @Override
  public Integer call() throws IOException {
    Path folder = Files.createTempDirectory("retort-load-");
    try {
      write(folder);
      double[] wall = new double[loads];
      for (int i = 0; i < loads; i++) {
        wall[i] = load(folder, i);
      }
      System.out.printf(
          "first %.0f ms, median %.0f ms%n",
          wall[0], Arrays.stream(wall).sorted().toArray()[loads / 2]);
    } finally {
      Files.deleteIfExists(folder.resolve(ModelFile.WEIGHTS));
      Files.deleteIfExists(folder.resolve(ModelFile.CONFIG));
      Files.delete(folder);
    }
    return 0;
  }

  private void write(Path folder) {
    SongUNet.Config edm =
        new SongUNet.Config(32, 3, 10, 128, List.of(2, 2, 2), 4, List.of(16), 0.13, 9);
    Denoiser denoiser = new Denoiser(new SongUNet(edm), 0.5);
    try (Parameters weights = denoiser.network().plan().initialise(backend.memory(), 1)) {
      ModelFile.save(folder, denoiser, weights, Map.of());
    }
    backend.memory().trim();
  }

  /// Milliseconds of one load.
  private double load(Path folder, int index) {
    long cpu = processNanos();
    long started = System.nanoTime();
    try (ModelFile model = ModelFile.load(folder, backend.memory())) {
      double wall = (System.nanoTime() - started) / 1e6;
      System.out.printf(
          "load %d: %.0f ms, %.0f ms of processor time; %,d parameters of %.1f MB, %.1f MB of"
              + " tensors%n",
          index + 1,
          wall,
          (processNanos() - cpu) / 1e6,
          model.parameters().count(),
          model.parameters().count() * Float.BYTES / 1e6,
          backend.memory().liveBytes() / 1e6);
      return wall;
    }
  }

  private static long processNanos() {
    return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
        .getProcessCpuTime();
  }
}
