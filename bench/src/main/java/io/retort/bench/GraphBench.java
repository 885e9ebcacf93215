package io.retort.bench;

import io.retort.backend.CudaBackend;
import io.retort.backend.CudaBinding;
import io.retort.bindings.NativeLinkError;
import io.retort.bindings.cuda.CudaEmulator;
import io.retort.bindings.cuda.CudaException;
import io.retort.data.Batch;
import io.retort.data.Dataset;
import io.retort.data.Datasets;
import io.retort.recipe.Recipe;
import io.retort.recipe.RecipeReader;
import io.retort.recipe.Wiring;
import io.retort.train.DivergedException;
import io.retort.train.Trainer;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Option;

/// What a training step of the embedded teacher costs with its kernels launched one by one and as
/// one CUDA graph, in turns.
///
/// The emulator is told to drop kernels: what is left is the host's part, Java and calls, of a
/// driver that has no device to talk to. Nothing is computed then, so losses are not finite and
/// every step counts as diverged, after all of its work. On a real device it is the whole step.
@Command(
    name = "retort bench graphs",
    mixinStandardHelpOptions = true,
    description = "Times training steps with and without CUDA graphs.")
public final class GraphBench implements Callable<Integer> {
  private static final String RECIPE = "fashion-mnist-teacher";
  private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

  /// Of either kind; the first is not counted.
  private static final int TURNS = 7;

  @Option(names = "--cuda-library", description = "Path of a driver, or emulator.")
  private @Nullable String library;

  @Option(names = "--cuda-binding", description = "${COMPLETION-CANDIDATES} (${DEFAULT-VALUE}).")
  private CudaBinding binding = CudaBinding.PANAMA;

  @Option(names = "--steps", description = "Steps a turn (${DEFAULT-VALUE}).")
  private int steps = 100;

  public static void main(String... arguments) {
    Locale.setDefault(Locale.ROOT);
    System.exit(
        new CommandLine(new GraphBench())
            .setCaseInsensitiveEnumValuesAllowed(true)
            .setExecutionExceptionHandler((failure, command, unused) -> {
              command.getErr().println("graphs: " + failure.getMessage());
              return ExitCode.SOFTWARE;
            })
            .execute(arguments));
  }

  @Override
  public Integer call() throws IOException {
    System.setProperty(
        "retort.exact", "false"); // memory as on a device, or the emulator's care shows
    try {
      CudaBackend cuda = CudaBackend.open(binding, library);
      Optional<CudaEmulator> emulator = cuda.emulator();
      emulator.ifPresent(each -> each.set("work", "none"));
      measure(cuda);
      return ExitCode.OK;
    } catch (NativeLinkError | CudaException e) {
      throw new IOException(e.getMessage(), e);
    }
  }

  private void measure(CudaBackend cuda) {
    Recipe recipe = RecipeReader.builtIn(RECIPE, List.of("steps=1000000"));
    Dataset data = Datasets.get(recipe.data());
    Wiring wiring = new Wiring(recipe, data, cuda);
    try (Trainer trainer = wiring.fresh(null)) {
      Batch batch = wiring.batches(trainer.method()).batch(0);
      List<Double> single = new ArrayList<>();
      List<Double> captured = new ArrayList<>();
      for (int turn = 0; turn < TURNS; turn++) {
        time(cuda, trainer, batch, false, turn == 0 ? new ArrayList<>() : single);
        time(cuda, trainer, batch, true, turn == 0 ? new ArrayList<>() : captured);
      }
      System.out.println(cuda.description() + ", " + RECIPE);
      System.out.printf("one by one  %s%n", text(single));
      System.out.printf("as a graph  %s%n", text(captured));
      cuda.graphReport().forEach(System.out::println);
      if (cuda.emulator().isPresent()) {
        System.out.println(
            "kernels were dropped: this is the processor time of the calling thread, not a"
                + " device's");
      }
    }
  }

  /// Adds the milliseconds of one turn's steps.
  private void time(
      CudaBackend cuda, Trainer trainer, Batch batch, boolean graphs, List<Double> milliseconds) {
    cuda.useGraphs(graphs, remark -> {});
    for (int i = 0; i < steps; i++) {
      milliseconds.add(step(cuda, trainer, batch));
    }
  }

  /// Milliseconds of one step.
  private static double step(CudaBackend cuda, Trainer trainer, Batch batch) {
    long last = trainer.step() + 1;
    boolean emulated = cuda.emulator().isPresent();
    long started = emulated ? THREADS.getCurrentThreadCpuTime() : System.nanoTime();
    try {
      trainer.run(step -> batch, () -> trainer.step() >= last, event -> {});
    } catch (DivergedException e) {
      if (!emulated) {
        throw e;
      }
    }
    long ended = emulated ? THREADS.getCurrentThreadCpuTime() : System.nanoTime();
    return (ended - started) / 1e6;
  }

  private static String text(List<Double> milliseconds) {
    List<Double> sorted = milliseconds.stream().sorted().toList();
    int n = sorted.size();
    return "%7.3f ms a step (median of %d; 20th to 80th percentile %.3f to %.3f)"
        .formatted(sorted.get(n / 2), n, sorted.get(n / 5), sorted.get(n - 1 - n / 5));
  }
}
