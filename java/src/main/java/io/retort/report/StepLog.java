package io.retort.report;

import io.retort.train.TrainEvent.StepDone;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SequencedMap;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/// Every step of a run on disk (`metrics.jsonl`, TensorBoard events) and as a line to look at.
final class StepLog implements AutoCloseable {
  /// Column: images consumed since the start.
  static final String IMAGES = "images";

  /// Column: duration of the step.
  static final String SECONDS = "seconds";

  /// Column: duration of the run so far, over all its processes.
  static final String WALL = "wall_seconds";

  static final String GRADIENT_NORM = "_gradient_norm";

  private static final double SPEED_MEMORY = 0.95;
  private static final int WARM_UP = 5;
  private static final int SHOWN = 4;

  private final MetricsLog metrics;
  private final EventsWriter events;
  private final long steps;
  private final double wallBefore;
  private final long opened = System.nanoTime();
  private double secondsPerStep;
  private long recorded;

  private StepLog(MetricsLog metrics, EventsWriter events, long steps, double wallBefore) {
    this.metrics = metrics;
    this.events = events;
    this.steps = steps;
    this.wallBefore = wallBefore;
  }

  /// The log of a run that has completed `step` of `steps`; lines after `step` are taken back.
  static StepLog open(RunDirectory directory, long step, long steps) {
    Path file = directory.file(RunDirectory.METRICS);
    MetricsLog metrics = step == 0 ? MetricsLog.create(file) : MetricsLog.resume(file, step);
    Instant now = Instant.now();
    EventsWriter events =
        step == 0
            ? EventsWriter.open(directory.path(), now)
            : EventsWriter.resume(directory.path(), step, now);
    return new StepLog(metrics, events, steps, wall(file));
  }

  /// Seconds that a log's last line says the run has taken.
  static double wall(Path file) {
    List<Map<String, @Nullable Object>> lines =
        Files.exists(file) ? MetricsLog.read(file) : List.of();
    return lines.isEmpty() || !(lines.getLast().get(WALL) instanceof Number seconds)
        ? 0
        : seconds.doubleValue();
  }

  /// Seconds the run has taken, over all its processes.
  double wall() {
    return wallBefore + (System.nanoTime() - opened) / 1e9;
  }

  void record(StepDone step) {
    SequencedMap<String, Object> line = new LinkedHashMap<>(step.values());
    line.put(IMAGES, step.images());
    line.put(SECONDS, step.seconds());
    line.put(WALL, wall());
    metrics.append(step.step(), line);
    Instant now = Instant.now();
    step.values().forEach((name, value) -> events.scalar(name, step.step(), value, now));
    events.scalar("images_per_second", step.step(), speed(step, step.seconds()), now);
    recorded++;
    double past = recorded <= WARM_UP ? 0 : Math.min(SPEED_MEMORY, 1 - 1.0 / (recorded - WARM_UP));
    secondsPerStep = past * secondsPerStep + (1 - past) * step.seconds();
  }

  /// Values measured after a step, as a line of their own.
  void measured(long step, SequencedMap<String, Double> values) {
    SequencedMap<String, Object> line = new LinkedHashMap<>(values);
    line.put(WALL, wall());
    metrics.append(step, line);
    Instant now = Instant.now();
    values.forEach((name, value) -> events.scalar(name, step, value, now));
  }

  void picture(String name, long step, byte[] png) {
    ByteBuffer header = ByteBuffer.wrap(png);
    events.image(name, step, png, header.getInt(20), header.getInt(16), Instant.now());
  }

  /// The step in one line: how far, how fast, how long still, the main losses.
  String line(StepDone step) {
    String losses =
        step.values().entrySet().stream()
            .filter(value -> !value.getKey().endsWith(GRADIENT_NORM))
            .limit(SHOWN)
            .map(value -> "%s %s".formatted(value.getKey(), number(value.getValue())))
            .collect(Collectors.joining("  "));
    return "step %d/%d  %s images/s  %s left  %s"
        .formatted(
            step.step(),
            steps,
            number(speed(step, secondsPerStep)),
            span((steps - step.step()) * secondsPerStep),
            losses);
  }

  private static double speed(StepDone step, double seconds) {
    return step.images() / (double) step.step() / Math.max(seconds, 1e-9);
  }

  /// Three significant digits.
  static String number(double value) {
    double size = Math.abs(value);
    String format = size >= 100 ? "%.0f" : size >= 10 ? "%.1f" : size >= 0.01 ? "%.3f" : "%.1e";
    return value == 0 ? "0" : String.format(Locale.ROOT, format, value);
  }

  /// A duration as people say it.
  static String span(double seconds) {
    Duration duration = Duration.ofSeconds(Math.max(0, Math.round(seconds)));
    if (duration.toHours() > 0) {
      return "%d h %d min".formatted(duration.toHours(), duration.toMinutesPart());
    }
    return duration.toMinutes() > 0
        ? "%d min %d s".formatted(duration.toMinutes(), duration.toSecondsPart())
        : duration.toSeconds() + " s";
  }

  @Override
  public void close() {
    try (metrics) {
      events.close();
    }
  }
}
