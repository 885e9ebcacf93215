package io.retort.bench.ops;

import io.retort.backend.CpuBackend;
import io.retort.backend.CudaBackend;
import io.retort.backend.CudaBinding;
import io.retort.backend.GemmPolicy;
import io.retort.bench.Build;
import io.retort.bindings.NativeLinkError;
import io.retort.bindings.cpu.Cpu;
import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaException;
import io.retort.bindings.cuda.CudaLibrary;
import io.retort.data.Json;
import io.retort.op.Backend;
import io.retort.op.UnsupportedOpException;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Option;

/// Times ops at sizes that matter.
///
/// A call is repeated with the caches flushed before each sample; the flush also keeps the device
/// busy while the call is queued, so that a slow host does not show. Times are the device's own.
/// What does not agree with the CPU is not timed, and the exit status says so.
@Command(
    name = "retort bench ops",
    mixinStandardHelpOptions = true,
    description = "Times ops at sizes that matter, after comparing them with the CPU's.")
public final class OpBench implements Callable<Integer> {
  private static final String EMULATED = "emulated, not a timing";
  private static final double UNSTABLE = 0.15;
  private static final int WARM_UP = 5;

  /// Twice the largest second-level cache there is, and half a millisecond of work.
  private static final long FLUSH_BYTES = 512L << 20;

  private static final long COPY_BYTES = 1L << 30;
  private static final long FEW_BYTES = 1 << 16;

  @Option(names = "--device", description = "cuda or cpu (${DEFAULT-VALUE}).")
  private String device = "cuda";

  @Option(names = "--cuda-library", description = "Path of a driver, or emulator.")
  private @Nullable String library;

  @Option(names = "--cuda-binding", description = "${COMPLETION-CANDIDATES} (${DEFAULT-VALUE}).")
  private CudaBinding binding = CudaBinding.PANAMA;

  @Option(names = "--cuda-gemm", description = "${COMPLETION-CANDIDATES} (${DEFAULT-VALUE}).")
  private GemmPolicy gemm = GemmPolicy.OWN;

  @Option(
      names = "--filter",
      description = "Only workloads whose name contains one of these, or that have such a goal.")
  private String filter = "";

  @Option(names = "--samples", description = "Samples of each row (${DEFAULT-VALUE}).")
  private int samples = 40;

  @Option(names = "--seconds", description = "Most seconds a row is sampled (${DEFAULT-VALUE}).")
  private double seconds = 1;

  @Option(names = "--csv", description = "Appends rows to this file.")
  private @Nullable Path csv;

  @Option(names = "--json", description = "Writes environment and rows to this file.")
  private @Nullable Path json;

  @Option(names = "--list", description = "Writes the workloads to this file, for a peer; no run.")
  private @Nullable Path list;

  @Option(names = "--small", description = "A few elements of each, as on the emulator.")
  private boolean small;

  public static void main(String... arguments) {
    Locale.setDefault(Locale.ROOT);
    System.exit(run(arguments));
  }

  /// @return the exit status
  static int run(String... arguments) {
    return new CommandLine(new OpBench())
        .setCaseInsensitiveEnumValuesAllowed(true)
        .setExecutionExceptionHandler((failure, command, unused) -> {
          command.getErr().println("ops: " + failure.getMessage());
          return ExitCode.SOFTWARE;
        })
        .execute(arguments);
  }

  @Override
  public Integer call() throws IOException {
    List<Workload> workloads =
        Workloads.all().stream()
            .filter(each ->
                Stream.of(filter.split(",", -1))
                    .anyMatch(part -> each.name().contains(part) || each.goal().equals(part)))
            .toList();
    if (workloads.isEmpty()) {
      throw new IllegalArgumentException("no workload has '%s' in its name".formatted(filter));
    }
    if (list != null) {
      Files.writeString(
          list, Json.writeIndented(workloads.stream().map(Workload::description).toList()));
      return ExitCode.OK;
    }
    try {
      return run(workloads, open());
    } catch (NativeLinkError | CudaException e) {
      throw new IOException(e.getMessage(), e);
    }
  }

  private Backend open() {
    return switch (device) {
      case "cuda" -> CudaBackend.open(binding, library, gemm);
      case "cpu" -> CpuBackend.open();
      default ->
          throw new IllegalArgumentException(
              "--device must be cuda or cpu, got '%s'".formatted(device));
    };
  }

  private int run(List<Workload> workloads, Backend backend) throws IOException {
    boolean emulated = backend instanceof CudaBackend cuda && cuda.emulator().isPresent();
    boolean few = small || emulated;
    Optional<CudaDriver> driver =
        backend instanceof CudaBackend
            ? Optional.of(binding.driver(CudaLibrary.open(library)))
            : Optional.empty();
    Roofline roofline = Roofline.measure(backend, driver, few ? FEW_BYTES : COPY_BYTES);
    SequencedMap<String, Object> environment = environment(backend, driver, roofline);
    environment.forEach((name, value) -> System.out.printf("%-14s%s%n", name, value));
    var table = new OpTable(environment);
    System.out.println(table.heading());
    int broken = 0;
    for (Workload workload : workloads) {
      broken += measure(few ? workload.small() : workload, backend, roofline, emulated, table);
      keep(table);
    }
    return broken == 0 ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  /// Writes what there is so far: a run may be ended by a clock.
  private void keep(OpTable table) throws IOException {
    if (csv != null) {
      table.append(csv);
    }
    if (json != null) {
      Files.writeString(json, table.json());
    }
  }

  /// @return how many calls do not agree with the CPU
  private int measure(
      Workload workload, Backend backend, Roofline roofline, boolean emulated, OpTable table) {
    int broken = 0;
    try (var scope = new Scope(backend.memory())) {
      List<Trial> trials = workload.trials(backend, scope, workload.precision());
      List<List<float[]>> expected = expected(workload);
      for (int i = 0; i < trials.size(); i++) {
        Trial trial = trials.get(i);
        List<float[]> actual = trial.results().get();
        Optional<String> wrong = Agreement.broken(actual, expected.get(i), workload.precision());
        if (wrong.isPresent()) {
          System.out.println(table.broken(workload, trial.pass(), wrong.get()));
          broken++;
        } else {
          double distance = Agreement.distance(actual, expected.get(i));
          OpRow row = time(workload, trial, backend, roofline, distance, emulated);
          System.out.println(table.add(row));
        }
      }
    } catch (UnsupportedOpException e) {
      System.out.println(table.broken(workload, "all", String.valueOf(e.getMessage())));
      broken++;
    }
    return broken;
  }

  /// What the CPU computes in float32.
  private static List<List<float[]>> expected(Workload workload) {
    Backend cpu = CpuBackend.open();
    try (var scope = new Scope(cpu.memory())) {
      return workload.trials(cpu, scope, DType.F32).stream()
          .map(trial -> trial.results().get())
          .toList();
    }
  }

  private OpRow time(
      Workload workload,
      Trial trial,
      Backend backend,
      Roofline roofline,
      double distance,
      boolean emulated) {
    int count = emulated ? 2 : samples;
    List<Double> host = new ArrayList<>();
    List<Double> times = new ArrayList<>();
    List<Stopwatch> watches = new ArrayList<>();
    try (var scope = new Scope(backend.memory())) {
      Tensor flushed = scope.allocate(Shape.of((emulated ? FEW_BYTES : FLUSH_BYTES) / 4));
      for (int i = 0; i < (emulated ? 1 : WARM_UP); i++) {
        trial.call().run();
      }
      long deadline = System.nanoTime() + (long) (1e9 * seconds);
      for (int i = 0; i < count && (i < 3 || System.nanoTime() < deadline); i++) {
        Stopwatch watch = Stopwatch.of(backend);
        watches.add(watch);
        flushed.zero();
        watch.start();
        long started = System.nanoTime();
        trial.call().run();
        host.add((System.nanoTime() - started) / 1e3);
        watch.stop();
      }
      watches.forEach(watch -> times.add(watch.microseconds()));
    } finally {
      watches.forEach(Stopwatch::close);
    }
    boolean unstable =
        OpRow.quantile(times, 0.8) - OpRow.quantile(times, 0.2)
            > UNSTABLE * OpRow.quantile(times, 0.5);
    return new OpRow(
        workload,
        trial,
        times,
        OpRow.quantile(host, 0.5),
        roofline.bound(trial, workload.precision()),
        distance,
        emulated ? EMULATED : unstable ? "unstable" : "");
  }

  private static SequencedMap<String, Object> environment(
      Backend backend, Optional<CudaDriver> driver, Roofline roofline) {
    var environment = new LinkedHashMap<String, Object>();
    environment.put("date", LocalDate.now().toString());
    environment.put("commit", Build.commit());
    environment.put("jdk", System.getProperty("java.vm.version"));
    environment.put("device", backend.description());
    environment.put("driver", driver.map(OpBench::version).orElseGet(() -> Cpu.detect().model()));
    environment.put("copy_gb_per_s", Math.round(roofline.bytesPerSecond() / 1e9));
    return environment;
  }

  /// What the kernel module says of itself, and the newest CUDA that the driver knows.
  private static String version(CudaDriver driver) {
    int version = driver.driverGetVersion();
    String module = "";
    try {
      module =
          Files.readString(Path.of("/sys/module/nvidia/version"), StandardCharsets.UTF_8).strip()
              + ", ";
    } catch (IOException e) {
      // the emulator has none
    }
    return "%sCUDA %d.%d".formatted(module, version / 1000, version % 1000 / 10);
  }
}
