package io.retort.bench;

import static java.util.Objects.requireNonNull;

import io.retort.backend.CpuBackend;
import io.retort.backend.KernelProfile;
import io.retort.backend.KernelProfile.Row;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/// Where a step of [RetortStep], or a call of [RetortModel], spends its time: a table of kernels.
///
/// Of several steps every kernel's median is shown, so that what else the machine does falls on
/// none in particular.
@Command(
    name = "retort bench profile",
    mixinStandardHelpOptions = true,
    description = "Shows which kernels a step's time goes to.")
public final class StepProfile implements Callable<Integer> {
  private static final int WARM_UP = 2;

  @Option(names = "--steps", description = "Steps to take the medians of (${DEFAULT-VALUE}).")
  private int steps = 9;

  @Option(names = "--batch", description = "Images a step (${DEFAULT-VALUE}).")
  private int batch = 32;

  @Option(
      names = "--row",
      description = "As `bench steps` names it, of `models` too (${DEFAULT-VALUE}).")
  private String row = "unet_train_fp32";

  @Option(names = "--shapes", description = "A row for every kernel and shape.")
  private boolean shapes;

  @Option(
      names = "--pause",
      description =
          "Milliseconds between steps: real-time processes get 95 %% of every second (0).")
  private long pause;

  /// @param seconds but for the profile's own
  private record Step(double seconds, double profile, Map<String, Row> rows) {}

  public static void main(String... arguments) {
    System.exit(new CommandLine(new StepProfile()).execute(arguments));
  }

  @Override
  public Integer call() throws InterruptedException {
    var timed = new KernelProfile(CpuBackend.open());
    try (StepWorker worker = worker(timed)) {
      List<Step> taken = new ArrayList<>();
      int warmUp = model() ? BenchRow.SERVING : WARM_UP;
      for (int i = -warmUp; i < steps; i++) {
        Thread.sleep(pause);
        timed.clear();
        long started = System.nanoTime();
        worker.run(row, false);
        double seconds = (System.nanoTime() - started) / 1e9;
        if (i >= 0) {
          double own = timed.ownSeconds();
          taken.add(new Step(seconds - own, own, rows(timed)));
        }
      }
      print(taken);
    }
    return 0;
  }

  private boolean model() {
    return BenchRow.MODELS.rows().stream().anyMatch(each -> each.name().equals(row));
  }

  private StepWorker worker(KernelProfile timed) {
    var spec = new StepSpec(batch, 32, 64, 2);
    if (model()) {
      return new RetortModel(spec, timed.backend());
    }
    RetortStep.warmUp(timed.backend(), row);
    return new RetortStep(spec, timed.backend());
  }

  /// By name: what identifies a row from step to step.
  private Map<String, Row> rows(KernelProfile profile) {
    return profile.rows().stream()
        .map(row -> shapes ? row : row.anyShape())
        .collect(Collectors.toMap(StepProfile::name, row -> row, Row::plus));
  }

  private static String name(Row row) {
    return row.kernel() + " " + row.shapes();
  }

  private static void print(List<Step> steps) {
    System.out.printf(
        "%-72s%7s%10s%8s%10s%8s%n", "kernel", "calls", "ms", "share", "GFLOP/s", "GB/s");
    double whole = median(steps, Step::seconds);
    steps.getFirst().rows().values().stream()
        .map(row -> middle(row, steps))
        .sorted(Comparator.comparing(Row::seconds).reversed())
        .forEach(row -> print(row, whole));
    double between = median(steps, StepProfile::between);
    System.out.printf(
        Locale.ROOT,
        "%-79s%10.2f%7.1f%%%n",
        "Java between kernels",
        between * 1e3,
        100 * between / whole);
    System.out.printf(Locale.ROOT, "%-79s%10.2f%n", "step", whole * 1e3);
    System.out.printf(
        Locale.ROOT,
        "%-79s%10.2f%n",
        "not counted: the profile",
        median(steps, Step::profile) * 1e3);
  }

  /// A kernel's row with the median of its seconds; every step calls the same kernels.
  private static Row middle(Row row, List<Step> steps) {
    double seconds = median(steps, step -> requireNonNull(step.rows().get(name(row))).seconds());
    return new Row(
        row.family(),
        row.kernel(),
        row.shapes(),
        row.type(),
        row.calls(),
        seconds,
        row.flops(),
        row.bytes());
  }

  private static void print(Row row, double whole) {
    double gigaflops = row.flops() / row.seconds() / 1e9;
    System.out.printf(
        Locale.ROOT,
        "%-72s%7d%10.2f%7.1f%%%10s%8.1f%n",
        name(row),
        row.calls(),
        row.seconds() * 1e3,
        100 * row.seconds() / whole,
        row.flops() > 0 ? Long.toString(Math.round(gigaflops)) : "",
        row.bytes() / row.seconds() / 1e9);
  }

  private static double between(Step step) {
    return step.seconds() - step.rows().values().stream().mapToDouble(Row::seconds).sum();
  }

  private static double median(List<Step> steps, ToDoubleFunction<Step> value) {
    return steps.stream().mapToDouble(value).sorted().toArray()[steps.size() / 2];
  }
}
