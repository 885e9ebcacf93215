package io.retort.bench;

import io.retort.bench.StepContestant.Sample;
import io.retort.bench.StepContestant.Start;
import io.retort.bindings.cpu.Cpu;
import io.retort.data.Json;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/// Seconds that Retort and its peers take for the rows of a suite, one after another in every
/// round: steps of the small EDM U-Net, or single ops.
///
/// Each engine lives in a process of its own, because each brings its own OpenMP and wants its own
/// memory allocator. Before anything counts, all must have computed the same numbers: for training,
/// losses of several steps, of which all but the first depend on every gradient and on Adam.
@Command(
    name = "retort bench steps",
    mixinStandardHelpOptions = true,
    description = "Times steps of a U-Net, or single ops, Retort and its peers interleaved.")
public final class StepBench implements Callable<Integer> {
  /// glibc gives large blocks back and faults them in again; told to keep them it is up to 15 %
  /// faster.
  private static final Map<String, String> KEEP_MEMORY =
      Map.of(
          "MALLOC_MMAP_THRESHOLD_", "4294967296",
          "MALLOC_TRIM_THRESHOLD_", "17179869184",
          "MALLOC_TOP_PAD_", "1073741824");

  @Option(names = "--home", description = "The repository.", defaultValue = "${sys:retort.home:-.}")
  private Path home = Path.of(".");

  @Option(names = "--suite", description = "steps, ops or models (${DEFAULT-VALUE}).")
  private String suiteName = "steps";

  @Option(names = "--rows", description = "Only rows whose name contains this.")
  private String wanted = "";

  @Option(names = "--json", description = "Prints the rows as JSON, progress to stderr.")
  private boolean json;

  @Option(names = "--rounds", description = "Samples of each row (${DEFAULT-VALUE}).")
  private int rounds = 9;

  @Option(names = "--batch", description = "Images a step (${DEFAULT-VALUE}).")
  private int batch = 32;

  @Option(names = "--resolution", description = "Side of an image (${DEFAULT-VALUE}).")
  private int resolution = 32;

  @Option(names = "--channels", description = "Width of the first level (${DEFAULT-VALUE}).")
  private int channels = 64;

  @Option(names = "--device", description = "cpu or cuda, of every engine (${DEFAULT-VALUE}).")
  private String device = "cpu";

  @Option(names = "--cuda-library", description = "Path of a driver, or emulator, for Retort.")
  private @Nullable String library;

  @Option(names = "--threads", description = "Of every engine (${DEFAULT-VALUE}).")
  private int threads = 2;

  @Option(names = "--peer", description = "A Python with PyTorch, as a further peer.")
  private @Nullable String python;

  @Option(
      names = "--only",
      description = "Only contestants whose name contains this; Retort always runs.")
  private String only = "";

  @Option(
      names = "--realtime",
      description =
          "Takes samples at real-time priority, for a machine that is not quiet; needs root.")
  private boolean realtime;

  @Option(names = "--dry", description = "Writes no result.")
  private boolean dry;

  public static void main(String... arguments) {
    System.exit(
        new CommandLine(new StepBench())
            .setExecutionExceptionHandler((failure, command, unused) -> {
              command.getErr().println("steps: " + failure.getMessage());
              return 1;
            })
            .execute(arguments));
  }

  @Override
  public Integer call() throws IOException {
    var spec = new StepSpec(batch, resolution, channels, threads);
    BenchRow.Suite suite =
        Stream.of(BenchRow.STEPS, BenchRow.OPS, BenchRow.MODELS)
            .filter(each -> each.name().equals(suiteName))
            .findFirst()
            .orElseThrow(
                () -> new IOException("--suite must be steps, ops or models, got " + suiteName));
    List<BenchRow> rows = suite.rows().stream().filter(row -> row.name().contains(wanted)).toList();
    if (rows.isEmpty()) {
      throw new IOException(
          "no row of %s has '%s' in its name; they are %s"
              .formatted(
                  suiteName,
                  wanted,
                  suite.rows().stream().map(BenchRow::name).collect(Collectors.joining(", "))));
    }
    List<StepContestant> contestants = new ArrayList<>();
    Path log = Files.createTempFile("retort-steps", ".log");
    try {
      for (Start start : starts(suite, spec)) {
        System.err.println("starting " + start.name());
        contestants.add(new StepContestant(start, log));
      }
      for (BenchRow row : rows) {
        System.err.println("checking " + row.name());
        agree(row, doing(row, contestants));
      }
      for (int round = 0; round < rounds; round++) {
        System.err.println("round " + (round + 1) + " of " + rounds);
        for (BenchRow row : rows) {
          if (row.in(round)) {
            sample(row, round, doing(row, contestants));
          }
        }
      }
    } catch (IOException e) {
      throw new IOException(e.getMessage() + "; what the engines printed is in " + log, e);
    } finally {
      contestants.forEach(StepContestant::close);
    }
    Files.delete(log);
    report(suite, spec, rows, contestants);
    return 0;
  }

  private static List<StepContestant> doing(BenchRow row, List<StepContestant> contestants) {
    return contestants.stream().filter(contestant -> contestant.does(row)).toList();
  }

  /// One sample of each, the first to go changes every round.
  private void sample(BenchRow row, int round, List<StepContestant> contestants)
      throws IOException {
    for (int i = 0; i < contestants.size(); i++) {
      contestants.get((round + i) % contestants.size()).sample(row, realtime);
    }
  }

  private void report(
      BenchRow.Suite suite, StepSpec spec, List<BenchRow> works, List<StepContestant> contestants)
      throws IOException {
    List<StepTable.Row> rows = new ArrayList<>();
    for (BenchRow work : works) {
      doing(work, contestants).forEach(contestant -> rows.add(StepTable.Row.of(contestant, work)));
    }
    var table = new StepTable(environment(spec), shares(works, contestants.getFirst()), rows);
    if (json) {
      SequencedMap<String, Object> object = new LinkedHashMap<>(environment(spec));
      object.put("rows", table.json());
      System.out.println(Json.writeIndented(object));
    } else {
      System.out.println(table.text() + outside(contestants.getFirst()));
    }
    if (!dry) {
      Path file =
          home.resolve("bench/results/cpu-%s-%s.csv".formatted(suite.name(), LocalDate.now()));
      table.append(file);
      System.err.println("appended to " + file);
    }
  }

  /// Of the machine's measured peak, by row, where the row is mostly products.
  private static SequencedMap<String, Double> shares(List<BenchRow> works, StepContestant retort) {
    SequencedMap<String, Double> shares = new LinkedHashMap<>();
    for (BenchRow work : works) {
      String flops = retort.fact("flops_" + work.work());
      String peak = retort.fact("peak_" + work.precision());
      List<Sample> samples = retort.samples(work);
      if (!flops.isEmpty() && !peak.isEmpty() && !samples.isEmpty()) {
        double seconds =
            samples.stream().mapToDouble(Sample::seconds).sorted().toArray()[samples.size() / 2];
        shares.put(work.name(), Double.parseDouble(flops) / seconds / Double.parseDouble(peak));
      }
    }
    return shares;
  }

  /// What Java costs between kernels.
  private static String outside(StepContestant retort) {
    var text = new StringBuilder();
    for (BenchRow row : BenchRow.STEPS.rows()) {
      String share = retort.fact("outside_" + row.name());
      if (!share.isEmpty()) {
        text.append(
            "%n%s: %.2f %% of the time outside kernels"
                .formatted(row.name(), 100 * Double.parseDouble(share)));
      }
    }
    return text.toString();
  }

  /// Every contestant's first numbers must be those of the first.
  private void agree(BenchRow row, List<StepContestant> contestants) throws IOException {
    List<Double> expected = checked(row, contestants.getFirst());
    for (StepContestant contestant : contestants.subList(1, contestants.size())) {
      List<Double> values = checked(row, contestant);
      for (int i = 0; i < expected.size(); i++) {
        if (!(Math.abs(values.get(i) / expected.get(i) - 1) <= row.tolerance())) {
          throw new IOException(
              "%s: %s computes %s where %s computes %s: not the same work"
                  .formatted(
                      row.name(),
                      contestant.name(),
                      values,
                      contestants.getFirst().name(),
                      expected));
        }
      }
    }
  }

  private List<Double> checked(BenchRow row, StepContestant contestant) throws IOException {
    List<Double> values = new ArrayList<>();
    for (int i = 0; i < row.checks(); i++) {
      values.add(contestant.check(row, realtime).value());
    }
    return values;
  }

  private List<Start> starts(BenchRow.Suite suite, StepSpec spec) throws IOException {
    List<Start> starts = new ArrayList<>();
    List<String> retort = java(System.getProperty("java.class.path"), suite.worker());
    retort.addAll(spec.arguments());
    retort.add("device=" + device);
    if (library != null) {
      retort.add("library=" + library);
    }
    starts.add(new Start("retort", retort, Map.of("RETORT_THREADS", Integer.toString(threads))));
    Path peer = home.resolve("bench/peers/libtorch/target");
    if (device.equals("cuda")) {
      System.err.println("libtorch is no peer on cuda: its natives here are the processor's");
    } else if (suite.libtorch().isEmpty()) {
      System.err.println("libtorch is no peer of " + suiteName);
    } else if (Files.isDirectory(peer.resolve("lib"))) {
      addBoth(starts, "libtorch", libtorch(peer, suite.libtorch().get()), spec);
    } else {
      System.err.println("peer not present: libtorch; mvn package -Ppeer builds it");
    }
    if (python != null && hasTorch(python)) {
      Path script = home.resolve("bench/peers/pytorch").resolve(suite.script());
      List<String> command = List.of(python, script.toString());
      if (device.equals("cuda")) {
        addDevice(starts, command, spec);
      } else {
        addBoth(starts, "pytorch", command, spec);
      }
    } else if (python != null) {
      System.err.println("peer not present: " + python + " cannot import torch");
    }
    starts.removeIf(start -> !start.name().equals("retort") && !start.name().contains(only));
    return starts;
  }

  /// A peer in both layouts, each with glibc's default allocator and with one that keeps its
  /// memory.
  private void addBoth(List<Start> starts, String peer, List<String> command, StepSpec spec) {
    for (String layout : List.of("contiguous", "channels_last")) {
      for (boolean keep : List.of(false, true)) {
        List<String> whole = new ArrayList<>(command);
        whole.addAll(spec.arguments());
        whole.add(layout);
        Map<String, String> environment = new LinkedHashMap<>(keep ? KEEP_MEMORY : Map.of());
        environment.put("OMP_NUM_THREADS", Integer.toString(threads));
        environment.put("OPENBLAS_NUM_THREADS", "1");
        if (Cpu.detect().isas().contains("avx512")) {
          environment.put("OPENBLAS_CORETYPE", "SkylakeX");
        }
        String name = peer + " " + layout + (keep ? " malloc" : "");
        starts.add(new Start(name, whole, environment));
      }
    }
  }

  /// PyTorch on CUDA in both layouts, products in float32 and in TF32.
  private static void addDevice(List<Start> starts, List<String> command, StepSpec spec) {
    for (String layout : List.of("contiguous", "channels_last")) {
      for (String products : List.of("fp32", "tf32")) {
        List<String> whole = new ArrayList<>(command);
        whole.addAll(spec.arguments());
        whole.addAll(List.of(layout, products, "device=cuda"));
        starts.add(new Start("pytorch " + layout + " " + products, whole, Map.of()));
      }
    }
  }

  private static List<String> libtorch(Path target, String main) {
    List<String> command =
        java(target.resolve("classes") + ":" + target.resolve("lib") + "/*", main);
    command.addAll(
        1,
        List.of(
            "-Dorg.bytedeco.javacpp.cachedir=" + target.resolve("cache"),
            "-Dorg.bytedeco.javacpp.maxbytes=0",
            "-Dorg.bytedeco.javacpp.maxphysicalbytes=0",
            "-Dorg.bytedeco.javacpp.nopointergc=true"));
    return command;
  }

  private static List<String> java(String classPath, String main) {
    return new ArrayList<>(
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-XX:+UseSerialGC",
            "-Xmx512m",
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            "--class-path",
            classPath,
            main));
  }

  private static boolean hasTorch(String python) throws IOException {
    return !output(List.of(python, "-c", "import torch; print(torch.__version__)")).isEmpty();
  }

  private SequencedMap<String, String> environment(StepSpec spec) throws IOException {
    SequencedMap<String, String> columns = new LinkedHashMap<>();
    columns.put("date", LocalDate.now().toString());
    columns.put("commit", Build.commit(home));
    columns.put("device", device);
    columns.put("machine", Cpu.detect().model());
    columns.put("cores", Integer.toString(Cpu.detect().cores()));
    columns.put("jdk", System.getProperty("java.vm.version"));
    columns.put("threads", Integer.toString(spec.threads()));
    columns.put("batch", Integer.toString(spec.batch()));
    columns.put("realtime", Boolean.toString(realtime));
    return columns;
  }

  /// First line that a command prints; empty if it fails.
  private static String output(List<String> command) throws IOException {
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
    try (var lines = process.inputReader(StandardCharsets.UTF_8)) {
      String line = lines.readLine();
      return line == null ? "" : line;
    }
  }
}
