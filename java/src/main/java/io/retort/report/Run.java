package io.retort.report;

import io.retort.backend.CpuBackend;
import io.retort.backend.CudaBackend;
import io.retort.bindings.cpu.NativeLibrary;
import io.retort.checkpoint.ModelFile;
import io.retort.checkpoint.TrainingCheckpoint;
import io.retort.data.BatchLoader;
import io.retort.data.Dataset;
import io.retort.data.Datasets;
import io.retort.data.Json;
import io.retort.distill.Distillation;
import io.retort.distill.EdmTraining;
import io.retort.distill.MethodKind.Goal;
import io.retort.op.Backend;
import io.retort.recipe.BatchSource;
import io.retort.recipe.Recipe;
import io.retort.recipe.Recipe.Precision;
import io.retort.recipe.RecipeException;
import io.retort.recipe.RecipeReader;
import io.retort.recipe.RecipeWriter;
import io.retort.recipe.Wiring;
import io.retort.train.TrainEvent;
import io.retort.train.TrainEvent.StepDone;
import io.retort.train.Trainer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/// A run in its folder, from a recipe to a report: trains, saves, draws, measures, and can be taken
/// up again.
///
/// Whatever ends it, what was saved stays readable, and [#resume] continues from the newest
/// checkpoint as if it had never stopped. One thread; several runs may follow each other in one
/// process.
public final class Run {
  private static final String PAIRS = "pairs";
  private static final String TEACHER_RECIPE = "fashion-mnist-teacher";

  private final Recipe recipe;
  private final RunDirectory directory;
  private final Backend backend;
  private final RunOptions options;
  private final Dataset data;
  private final Wiring wiring;
  private final long liveBefore;
  private long saved = -1;

  private Run(Recipe recipe, RunDirectory directory, Backend backend, RunOptions options) {
    this.recipe = recipe;
    this.directory = directory;
    this.backend = backend;
    this.options = options;
    data = options.data().apply(recipe.data());
    wiring = new Wiring(recipe, data, backend);
    liveBefore = backend.memory().liveBlocks();
  }

  /// Begins a run in a folder that is empty or does not exist.
  ///
  /// @throws RunException if the folder cannot be used
  /// @throws RecipeException if the recipe cannot be carried out
  /// @throws io.retort.train.DivergedException if a loss stops being finite; the checkpoints stay
  public static RunOutcome start(Recipe recipe, Path path, Backend backend, RunOptions options) {
    try (RunDirectory directory = RunDirectory.create(path)) {
      Run run = new Run(recipe, directory, backend, options);
      run.announce();
      if (run.trainsTeacher()) {
        run.begin();
        return run.carryOutAfterTeacher();
      }
      return run.carryOut(run::begun);
    }
  }

  /// Continues a run from its newest checkpoint; one that was stopped before its first begins
  /// again.
  ///
  /// @throws RunException if the folder holds no run, or another process works in it
  public static RunOutcome resume(Path path, Backend backend, RunOptions options) {
    try (RunDirectory directory = RunDirectory.open(path)) {
      Recipe recipe = RecipeReader.read(directory.file(RunDirectory.RECIPE), List.of());
      if (Files.exists(directory.file(RunDirectory.SUMMARY))) {
        return finishedBefore(recipe, directory);
      }
      Run run = new Run(recipe, directory, backend, options);
      directory.prepare();
      RunProducts.restore(directory, backend).ifPresent(options.notes());
      Optional<Path> checkpoint = TrainingCheckpoint.newest(directory.checkpoints());
      if (checkpoint.isPresent()) {
        Path config = directory.file(ModelFile.CONFIG);
        return run.carryOut(() -> run.wiring.restored(checkpoint.get(), config));
      }
      return run.trainsTeacher()
          ? run.carryOutAfterTeacher()
          : run.carryOut(() -> run.wiring.fresh(run.teacher()));
    }
  }

  /// Begins a run, or continues the one that is in the folder already, whatever its recipe.
  public static RunOutcome startOrResume(
      Recipe recipe, Path path, Backend backend, RunOptions options) {
    return Files.exists(path.resolve(RunDirectory.RECIPE))
        ? resume(path, backend, options)
        : start(recipe, path, backend, options);
  }

  private static RunOutcome finishedBefore(Recipe recipe, RunDirectory directory) {
    Path file = directory.file(RunDirectory.SUMMARY);
    try {
      Map<String, @Nullable Object> summary = Json.parseObject(Files.readString(file));
      return new RunOutcome(
          directory.path(), recipe.steps(), recipe.steps(), true, Optional.empty(), summary);
    } catch (IOException | Json.JsonException failure) {
      throw new RunException(directory.path(), "has a %s that cannot be read".formatted(file));
    }
  }

  /// Says before the work what will be missing after it, and what makes it slow.
  private void announce() {
    if (recipe.precision() == Precision.BFLOAT16
        && backend.name().equals(CpuBackend.NAME)
        && !NativeLibrary.cpu().multipliesBfloat16()) {
      options
          .notes()
          .accept(
              "this processor has no bfloat16 arithmetic (avx512_bf16): float32 is faster here,"
                  + " --set precision=float32");
    }
    int count = recipe.evaluation().count();
    int most = Math.min(data.trainingSource().count(), data.test().count());
    if (recipe.kind().goal() != Goal.METRIC_NET && count > 0) {
      if (count > most) {
        throw new RecipeException(
            "recipe",
            "evaluation.count",
            "must be at most %d, the images of %s, got %d".formatted(most, data.name(), count));
      }
      RunEvaluation.obstacle(data, count)
          .ifPresent(reason -> options.notes().accept(data.name() + " " + reason));
    }
  }

  /// Writes what makes the folder a run.
  private void begin() {
    directory.prepare();
    directory.write(RunDirectory.ENVIRONMENT, Json.writeIndented(Environment.of(backend)));
    directory.write(RunDirectory.RECIPE, RecipeWriter.yaml(recipe));
  }

  /// First weights, then the folder: a recipe that cannot be wired leaves it empty.
  private Trainer begun() {
    Trainer trainer = wiring.fresh(teacher());
    try {
      begin();
      return trainer;
    } catch (RuntimeException failure) {
      trainer.close();
      throw failure;
    }
  }

  private boolean trainsTeacher() {
    return recipe.settings() instanceof Distillation distillation
        && distillation.teacher().equals(Wiring.TRAIN);
  }

  /// Null: the one inside the jar, or none at all.
  private @Nullable Path teacher() {
    if (!(recipe.settings() instanceof Distillation distillation)) {
      return null;
    }
    String teacher = distillation.teacher();
    return switch (teacher) {
      case Wiring.BUILT_IN -> null;
      case Wiring.TRAIN -> directory.teacher();
      default -> Path.of(teacher);
    };
  }

  private RunOutcome carryOutAfterTeacher() {
    options.notes().accept("training a teacher in " + directory.teacher());
    RunOutcome teacher = startOrResume(teacherRecipe(), directory.teacher(), backend, options);
    return teacher.finished() ? carryOut(() -> wiring.fresh(directory.teacher())) : stopped(0);
  }

  /// The committed teacher recipe, for this run's data, seed, network and label dropout.
  private Recipe teacherRecipe() {
    String dropout = "edm.label_dropout=" + recipe.settings(EdmTraining.KIND).labelDropout();
    Recipe base = RecipeReader.builtIn(TEACHER_RECIPE, List.of("evaluation.count=0", dropout));
    return new Recipe(
        base.method(),
        recipe.data(),
        recipe.seed(),
        base.steps(),
        recipe.precision(),
        recipe.network(),
        base.average(),
        base.save(),
        base.evaluation(),
        base.sections());
  }

  private RunOutcome carryOut(Supplier<Trainer> wired) {
    RunResults results;
    long step = 0;
    try (Trainer trainer = wired.get();
        LazyEvaluation evaluation =
            new LazyEvaluation(data, backend, recipe.evaluation().count())) {
      step = trainer.step();
      double wall = train(trainer, evaluation);
      step = trainer.step();
      if (step < recipe.steps()) {
        return stopped(step);
      }
      results =
          new RunMeasurement(recipe, data, directory, backend, options, evaluation)
              .measure(trainer, wall);
    } catch (StoppedException _) {
      return stopped(step);
    }
    return finished(results);
  }

  private RunOutcome finished(RunResults results) {
    long leaked = backend.memory().liveBlocks() - liveBefore;
    SequencedMap<String, @Nullable Object> summary =
        results.summary(recipe, backend.description(), leaked);
    RunProducts.save(directory, backend);
    if (backend instanceof CudaBackend cuda) {
      options.notes().accept(cuda.productSummary());
    }
    RunReport.of(recipe, data, directory, results, Environment.of(backend))
        .writeTo(directory.file(RunDirectory.REPORT));
    directory.write(RunDirectory.SUMMARY, Json.writeIndented(summary));
    return new RunOutcome(
        directory.path(), recipe.steps(), recipe.steps(), true, results.table(), summary);
  }

  private RunOutcome stopped(long step) {
    return new RunOutcome(
        directory.path(), step, recipe.steps(), false, Optional.empty(), Map.of());
  }

  /// Runs the remaining steps.
  ///
  /// @return seconds the run has taken, over all its processes
  private double train(Trainer trainer, LazyEvaluation evaluation) {
    saved = trainer.step() > 0 ? trainer.step() : -1;
    try (StepLog log = StepLog.open(directory, trainer.step(), recipe.steps());
        BatchSource source = source(trainer);
        BatchLoader loader = new BatchLoader(source, trainer.step())) {
      RunQuality quality = new RunQuality(recipe, data, backend, trainer, log, evaluation);
      RunPictures pictures = new RunPictures(recipe, directory, backend, trainer, log);
      if (trainer.step() == 0) {
        pictures.draw(0);
      }
      trainer.run(
          step -> loader.next(),
          options.stop(),
          event -> {
            switch (event) {
              case StepDone done -> {
                after(done, trainer, log, pictures);
                quality.after(done.step());
              }
              case TrainEvent.Ended _ -> save(trainer);
            }
          });
      return log.wall();
    }
  }

  private BatchSource source(Trainer trainer) {
    return wiring.source(
        trainer,
        Datasets.directory().resolve(PAIRS),
        done -> {
          options.progress().accept("samples of the teacher: %d".formatted(done));
          if (options.stop().getAsBoolean()) {
            throw new StoppedException();
          }
        });
  }

  private void after(StepDone done, Trainer trainer, StepLog log, RunPictures pictures) {
    log.record(done);
    options.progress().accept(log.line(done));
    if (done.step() % recipe.save().samples() == 0 || done.step() == recipe.steps()) {
      pictures.draw(done.step());
    }
    if (done.step() % recipe.save().every() == 0) {
      save(trainer);
    }
  }

  /// The model first: where there is a checkpoint, there is a model and its configuration.
  private void save(Trainer trainer) {
    if (saved != trainer.step()) {
      RunProducts.save(directory, backend);
      RunModel.save(recipe, data, directory, trainer, backend);
      TrainingCheckpoint.save(directory.checkpoints(), trainer, recipe.save().keep());
      saved = trainer.step();
    }
  }
}
