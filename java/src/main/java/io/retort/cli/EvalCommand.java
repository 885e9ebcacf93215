package io.retort.cli;

import io.retort.checkpoint.ModelFile;
import io.retort.data.DataException;
import io.retort.data.Dataset;
import io.retort.data.Datasets;
import io.retort.data.Images;
import io.retort.metrics.Evaluation;
import io.retort.metrics.Metric;
import io.retort.metrics.MetricRow;
import io.retort.metrics.MetricTable;
import io.retort.op.Backend;
import io.retort.report.RunEvaluation;
import io.retort.tensor.Shape;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/// `retort eval`: how close a model's images are to real ones, beside what held-out real images
/// reach.
@Command(
    description =
        "Measures a model's images against a data set; held-out real images are the floor.",
    footer =
        "%nExample: retort eval runs/fashion-mnist-dmd2-el-1 --data fashion-mnist-embedded"
            + " --metrics fid,prdc")
@SuppressWarnings("NullAway.Init") // picocli fills required fields before the call
final class EvalCommand implements Callable<Integer> {
  private static final String ROW = "model";

  private final Console console;

  @Mixin private ModelArgument model;

  @Option(
      names = "--data",
      required = true,
      paramLabel = "NAME|PATH",
      description = "The data set the model was trained on.")
  private String data;

  @Option(
      names = "--reference",
      paramLabel = "FILE",
      description =
          "Real images to compare with instead of the set's training images: .npz or .npy (u1"
              + " N,H,W,C or float N,C,H,W), a folder or zip of pictures.")
  private @Nullable Path reference;

  @Option(
      names = "--metrics",
      paramLabel = "A,B,..",
      description = "Of frechet (fid), kernel (kid), prdc, swd, nn, classes (default: all).")
  private @Nullable String metrics;

  @Option(
      names = "--count",
      paramLabel = "N",
      description = "Generated images, and real ones they are compared with (default: 2000).")
  private int count = 2000;

  @Option(
      names = "--steps",
      paramLabel = "K",
      description =
          "Sampling steps, for heun 2K - 1 network calls, else K (default: as it was made for).")
  private @Nullable Integer steps;

  @Mixin private SamplerOptions sampling;

  @Mixin private DeviceOption device;
  @Mixin private CommonOptions common;

  EvalCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    Numbers.positive("--count", count);
    Numbers.upTo(Numbers.MOST_STEPS, "--steps", steps);
    Set<Metric> chosen = MetricGroup.parse(metrics != null ? metrics : MetricGroup.known());
    Dataset set = Datasets.get(data);
    Backend backend = device.open(console, false);
    try (ModelFile loaded = model.load(backend)) {
      requireFits(loaded, set);
      Images real = reference != null ? ReferenceImages.read(reference, set.card()) : null;
      if (real != null && real.count() < count) {
        throw new DataException(
            String.valueOf(reference),
            "holds %d images, fewer than --count %d".formatted(real.count(), count));
      }
      console.progress("measuring %d held-out real images, the floor".formatted(count));
      try (RunEvaluation evaluation =
          RunEvaluation.open(
              set,
              real,
              real == null ? Evaluation.TRAINING : "images of " + reference,
              backend,
              count)) {
        MetricRow row =
            evaluation.row(
                ROW,
                sampling.of(backend, loaded, steps, 0),
                done -> console.progress("%d of %d images".formatted(done, count)));
        show(loaded, only(chosen, evaluation.table(List.of(row))));
      }
    }
    device.profile(console);
    return ExitStatus.SUCCESS;
  }

  private void requireFits(ModelFile loaded, Dataset set) {
    Shape image = loaded.denoiser().images(1);
    Shape real = Shape.of(1, set.card().height(), set.card().width(), set.card().channels());
    if (!image.equals(real)) {
      throw new DataException(
          data, "has images of shape %s, the model makes %s".formatted(real, image));
    }
  }

  private static MetricTable only(Set<Metric> chosen, MetricTable table) {
    return new MetricTable(
        table.rows().stream().map(row -> only(chosen, row)).toList(), table.notes());
  }

  private static MetricRow only(Set<Metric> chosen, MetricRow row) {
    Map<Metric, Double> values = new EnumMap<>(Metric.class);
    row.values()
        .forEach((metric, value) -> {
          if (chosen.contains(metric)) {
            values.put(metric, value);
          }
        });
    return new MetricRow(row.name(), row.nfe(), row.n(), values);
  }

  private void show(ModelFile loaded, MetricTable table) {
    if (!common.json()) {
      console.print(table.text());
      return;
    }
    var json = new LinkedHashMap<String, Object>();
    json.put("model", loaded.file().toString());
    json.put("data", data);
    if (reference != null) {
      json.put("reference", reference.toString());
    }
    json.put("rows", table.json());
    json.put("notes", table.notes());
    console.json(json);
  }
}
