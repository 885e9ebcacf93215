package io.retort.cli;

import io.retort.metrics.Metric;
import io.retort.report.RunComparison;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `retort compare`: how good several runs were after so many steps and seconds.
@Command(
    description = "Compares runs that measured themselves (--set evaluation.every=N) in one page.",
    footer =
        "%nExample: retort compare with=runs/a1,runs/a2 without=runs/b1,runs/b2 --out comparison")
@SuppressWarnings("NullAway.Init") // picocli fills required fields before the call
final class CompareCommand implements Callable<Integer> {
  private final Console console;

  @Parameters(
      arity = "1..*",
      paramLabel = "NAME=RUN,RUN..",
      description = "Runs of one name differ in their seed; medians are taken over them.")
  private List<String> groups;

  @Option(
      names = "--metric",
      paramLabel = "KEY",
      description = "frechet_lenet (default), frechet_random, precision or recall.")
  private String metric = Metric.FRECHET_LENET.key();

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "Where comparison.html, .svg, .md and .csv go.")
  private Path out;

  @Mixin private CommonOptions common;

  CompareCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    RunComparison comparison = new RunComparison(metric());
    for (String group : groups) {
      int equals = group.indexOf('=');
      if (equals < 1) {
        throw new UsageException("a group of runs must be NAME=RUN,RUN.., got \"" + group + "\"");
      }
      for (String run : group.substring(equals + 1).split(",", -1)) {
        comparison.add(group.substring(0, equals), Path.of(run));
      }
    }
    List<Path> written = comparison.writeTo(out);
    if (common.json()) {
      console.json(Map.of("files", written.stream().map(Path::toString).toList()));
    } else {
      console.print(comparison.markdown());
      console.note("written: " + written.getFirst());
    }
    return ExitStatus.SUCCESS;
  }

  private Metric metric() {
    return RunComparison.METRICS.stream()
        .filter(known -> known.key().equals(metric))
        .findFirst()
        .orElseThrow(() ->
            new UsageException(
                "--metric must be one of %s, got \"%s\""
                    .formatted(
                        String.join(", ", RunComparison.METRICS.stream().map(Metric::key).toList()),
                        metric)));
  }
}
