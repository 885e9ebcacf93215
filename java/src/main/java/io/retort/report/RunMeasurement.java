package io.retort.report;

import io.retort.checkpoint.ModelFile;
import io.retort.data.Dataset;
import io.retort.data.Images;
import io.retort.diffusion.ImageSampler;
import io.retort.distill.MethodKind.Goal;
import io.retort.metrics.LeNetFeatures;
import io.retort.metrics.MetricRow;
import io.retort.metrics.MetricTable;
import io.retort.op.Backend;
import io.retort.recipe.Recipe;
import io.retort.train.Trainer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.SequencedMap;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/// What happens after the last step: controls, pictures, metrics.
final class RunMeasurement {
  private final Recipe recipe;
  private final Dataset data;
  private final RunDirectory directory;
  private final Backend backend;
  private final RunOptions options;
  private final LazyEvaluation evaluation;

  RunMeasurement(
      Recipe recipe,
      Dataset data,
      RunDirectory directory,
      Backend backend,
      RunOptions options,
      LazyEvaluation evaluation) {
    this.recipe = recipe;
    this.data = data;
    this.directory = directory;
    this.backend = backend;
    this.options = options;
    this.evaluation = evaluation;
  }

  /// @param wallBefore seconds until the last step
  /// @throws StoppedException if the user asks to stop; nothing is lost
  RunResults measure(Trainer trainer, double wallBefore) {
    long started = System.nanoTime();
    SequencedMap<String, ImageSampler> samplers = Generators.of(recipe, trainer, backend);
    List<ModelFile> controls = new ArrayList<>();
    try {
      Controls.run(recipe, directory, backend, options)
          .forEach((name, folder) -> {
            ModelFile model = ModelFile.load(folder, backend.memory());
            controls.add(model);
            samplers.put(
                name,
                Generators.student(
                    recipe,
                    backend,
                    model.denoiser().in(recipe.precision().compute()),
                    model.parameters()));
          });
      SequencedMap<String, Images> pictures = new LinkedHashMap<>();
      samplers.forEach((name, sampler) ->
          pictures.put(
              name, Generators.draw(sampler, RunPictures.COUNT, progress("drawing " + name))));
      Optional<String> obstacle = obstacle();
      Optional<MetricTable> table =
          obstacle.isEmpty() ? Optional.of(table(samplers)) : Optional.empty();
      OptionalDouble accuracy = accuracy(trainer);
      return new RunResults(
          table,
          obstacle,
          pictures,
          accuracy,
          trainer.calibration(),
          trainingSeconds(),
          trainer.step() * trainer.method().batch(),
          wallBefore + (System.nanoTime() - started) / 1e9);
    } finally {
      controls.forEach(ModelFile::close);
    }
  }

  private Optional<String> obstacle() {
    if (recipe.kind().goal() == Goal.METRIC_NET) {
      return Optional.of("a classifier draws no images");
    }
    int count = recipe.evaluation().count();
    return count == 0
        ? Optional.of("the recipe asks for no evaluation")
        : RunEvaluation.obstacle(data, count).map(reason -> data.name() + " " + reason);
  }

  private MetricTable table(SequencedMap<String, ImageSampler> samplers) {
    options.progress().accept("measuring: features of the training images");
    RunEvaluation open = evaluation.get();
    List<MetricRow> rows = new ArrayList<>();
    samplers.forEach(
        (name, sampler) -> rows.add(open.row(name, sampler, progress("measuring " + name))));
    return open.table(rows);
  }

  private LongConsumer progress(String what) {
    return done -> {
      options.progress().accept("%s: %d images".formatted(what, done));
      if (options.stop().getAsBoolean()) {
        throw new StoppedException();
      }
    };
  }

  private OptionalDouble accuracy(Trainer trainer) {
    if (recipe.kind().goal() != Goal.METRIC_NET) {
      return OptionalDouble.empty();
    }
    Images test = data.test();
    try (LeNetFeatures net = RunModel.metricNet(data, trainer, backend)) {
      int[] predicted = net.predict(test.pixels(), test.count());
      int right = 0;
      for (int i = 0; i < predicted.length; i++) {
        right += predicted[i] == test.label(i) ? 1 : 0;
      }
      return OptionalDouble.of(right / (double) predicted.length);
    }
  }

  private double trainingSeconds() {
    double seconds = 0;
    for (Map<String, @Nullable Object> line :
        MetricsLog.read(directory.file(RunDirectory.METRICS))) {
      if (line.get(StepLog.SECONDS) instanceof Number step) {
        seconds += step.doubleValue();
      }
    }
    return seconds;
  }
}
