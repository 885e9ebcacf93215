package io.retort.cli;

import io.retort.metrics.Metric;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// What `--metrics` can name. The customary short names are understood, but no result is called by
/// them.
enum MetricGroup {
  FRECHET("fid", Metric.FRECHET_LENET, Metric.FRECHET_RANDOM),
  KERNEL(
      "kid",
      Metric.KERNEL_LENET,
      Metric.KERNEL_LENET_SD,
      Metric.KERNEL_RANDOM,
      Metric.KERNEL_RANDOM_SD),
  PRDC("prdc", Metric.PRECISION, Metric.RECALL, Metric.DENSITY, Metric.COVERAGE),
  SWD("swd", Metric.SLICED_WASSERSTEIN),
  NN("nn", Metric.NEAREST_DISTANCE, Metric.NEAREST_BELOW_FLOOR),
  CLASSES("classes", Metric.CLASS_CHI2, Metric.CLASS_ENTROPY, Metric.LABEL_FIDELITY);

  private final String alias;
  private final List<Metric> metrics;

  MetricGroup(String alias, Metric... metrics) {
    this.alias = alias;
    this.metrics = List.of(metrics);
  }

  /// The metrics that a comma-separated list asks for, and the sampling speed.
  ///
  /// @throws UsageException naming what is unknown
  static Set<Metric> parse(String list) {
    Set<Metric> chosen = EnumSet.of(Metric.IMAGES_PER_SECOND);
    for (String name : list.split(",", -1)) {
      chosen.addAll(named(name.strip().toLowerCase(Locale.ROOT)).metrics);
    }
    return chosen;
  }

  private static MetricGroup named(String name) {
    return Stream.of(values())
        .filter(group -> group.alias.equals(name) || group.spelled().equals(name))
        .findFirst()
        .orElseThrow(() ->
            new UsageException(
                "--metrics: '%s' is unknown; known are %s".formatted(name, known())));
  }

  /// Every name, as the help lists them.
  static String known() {
    return Stream.of(values()).map(MetricGroup::spelled).collect(Collectors.joining(","));
  }

  private String spelled() {
    return name().toLowerCase(Locale.ROOT);
  }
}
