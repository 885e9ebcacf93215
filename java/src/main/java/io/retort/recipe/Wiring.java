package io.retort.recipe;

import io.retort.checkpoint.ModelConfig;
import io.retort.checkpoint.ModelFile;
import io.retort.checkpoint.TrainingCheckpoint;
import io.retort.data.BatchSampler;
import io.retort.data.DataCard;
import io.retort.data.Dataset;
import io.retort.data.ImageSource;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.Preconditioning;
import io.retort.distill.EdmTraining;
import io.retort.distill.Method;
import io.retort.distill.MethodKind.Goal;
import io.retort.distill.MethodKind.Inputs;
import io.retort.distill.TeacherTraining;
import io.retort.grad.Parameters;
import io.retort.net.ClassExperts;
import io.retort.net.DiffusionNet;
import io.retort.net.LeNet;
import io.retort.net.Net;
import io.retort.op.Backend;
import io.retort.tensor.Scope;
import io.retort.train.RoleState;
import io.retort.train.TrainSpec;
import io.retort.train.Trainer;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.LongConsumer;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/// Makes what a recipe describes: the method, the numbers of its loop, the first weights of its
/// roles.
///
/// @param recipe what is wanted
/// @param data its data set
/// @param backend where the weights live
public record Wiring(Recipe recipe, Dataset data, Backend backend) {
  /// Value of a method's `teacher`: the one inside the jar.
  public static final String BUILT_IN = "builtin";

  /// Value of a method's `teacher`: one that the run trains first.
  public static final String TRAIN = "train";

  /// A trainer at step 0; closed by the caller.
  ///
  /// @param teacher run directory or file of the teacher, null for the one inside the jar; not
  ///   looked at by methods without one
  /// @throws io.retort.checkpoint.CheckpointException if the teacher cannot be loaded
  /// @throws RecipeException if parts of the recipe do not fit together
  public Trainer fresh(@Nullable Path teacher) {
    if (recipe.kind().goal() != Goal.STUDENT) {
      return fromNothing();
    }
    try (ModelFile model = teacher(teacher)) {
      return fromTeacher(model);
    }
  }

  /// A trainer that continues from a checkpoint of the same recipe; needs no teacher file.
  ///
  /// @param config the `config.json` of the run: the teacher's structure, where the checkpoint does
  ///   not say it
  public Trainer restored(Path checkpoint, Path config) {
    Trainer trainer =
        recipe.kind().goal() == Goal.STUDENT
            ? distilling(
                TrainingCheckpoint.teacher(checkpoint).orElseGet(() -> ModelConfig.read(config)))
            : fromNothing();
    try {
      TrainingCheckpoint.load(checkpoint, trainer);
      return trainer;
    } catch (RuntimeException failure) {
      trainer.close();
      throw failure;
    }
  }

  /// The batches of the recipe's method.
  public BatchSampler batches(Method method) {
    ImageSource all = data.trainingSource();
    int shots = method.shots();
    ImageSource given =
        shots > 0 && shots < all.count() ? all.select(IntStream.range(0, shots).toArray()) : all;
    return new BatchSampler(given, method.batch(), recipe.seed(), 0, data.card().flipAllowed());
  }

  /// The batch of every step, with samples of the teacher where the method learns from them; those
  /// are made first where they are missing. Closed by the caller.
  ///
  /// @param folder where samples of teachers are kept
  /// @param progress told how many are made; what it throws stops the making
  public BatchSource source(Trainer trainer, Path folder, LongConsumer progress) {
    BatchSampler sampler = batches(trainer.method());
    Optional<Method.Pairs> wanted = trainer.method().pairs();
    RoleState teacher = trainer.roles().get(Method.TEACHER);
    if (wanted.isEmpty()
        || teacher == null
        || !(teacher.role().net() instanceof DiffusionNet network)) {
      return new BatchSource(sampler, null);
    }
    Denoiser denoiser = new Denoiser(network, trainer.spec().preconditioning());
    TeacherPairs pairs =
        TeacherPairs.open(
            folder, backend, denoiser, teacher.weights(), wanted.get(), recipe.seed(), progress);
    return new BatchSource(sampler, pairs);
  }

  /// A trainer of networks that begin at random.
  private Trainer fromNothing() {
    double sigmaData = recipe.settings(EdmTraining.KIND).sigmaData();
    Preconditioning preconditioning =
        recipe.settings() instanceof TeacherTraining teacher
            ? teacher.preconditioning()
            : new Preconditioning.Edm(sigmaData);
    @Nullable DiffusionNet network =
        switch (recipe.kind().goal()) {
          case TEACHER -> TeacherNetwork.of(recipe, data.card(), preconditioning);
          case METRIC_NET -> {
            requireMetricNetFits();
            yield null;
          }
          case STUDENT -> throw new IllegalStateException("a student begins as its teacher");
        };
    return drawn(made(network, sigmaData), preconditioning);
  }

  /// A trainer of networks of a teacher's structure, all of them still random.
  private Trainer distilling(Denoiser teacher) {
    requireFits(teacher.network());
    double sigmaData =
        teacher.preconditioning() instanceof Preconditioning.Edm edm
            ? edm.sigmaData()
            : recipe.settings(EdmTraining.KIND).sigmaData();
    return drawn(made(teacher.network(), sigmaData), teacher.preconditioning());
  }

  private Method made(@Nullable DiffusionNet network, double sigmaData) {
    Inputs inputs = new Inputs(data.card(), network, sigmaData, recipe.steps());
    try {
      return recipe.kind().make(recipe.settings(), inputs);
    } catch (IllegalArgumentException unfit) {
      throw refused(recipe.method(), String.valueOf(unfit.getMessage()));
    }
  }

  private Trainer drawn(Method method, Preconditioning preconditioning) {
    Map<String, Parameters> weights = new HashMap<>();
    try {
      for (Method.Role role : method.roles()) {
        weights.put(role.name(), role.net().plan().initialise(backend.memory(), recipe.seed()));
      }
      return new Trainer(backend, method, spec(preconditioning), weights);
    } catch (RuntimeException failure) {
      weights.values().forEach(Parameters::close);
      throw failure;
    }
  }

  private Trainer fromTeacher(ModelFile teacher) {
    Trainer trainer = distilling(teacher.denoiser());
    trainer
        .roles()
        .forEach((name, state) -> {
          if (state.role().init().isPresent()) {
            begin(state.role().net(), state.weights(), teacher.parameters());
            if (state.average() != null) {
              state.average().copyFrom(state.weights());
            }
          }
        });
    return trainer;
  }

  /// Copies the teacher's weights into a network of its structure, or into each of several; weights
  /// that the teacher does not have stay as they were drawn.
  private void begin(Net net, Parameters weights, Parameters teacher) {
    if (net instanceof ClassExperts experts) {
      try (Scope scope = new Scope(backend.memory())) {
        for (int part = 0; part < experts.parts(); part++) {
          begin(experts.expert(), experts.weights(scope, weights, part), teacher);
        }
      }
    } else if (weights.count() == teacher.count()) {
      weights.copyFrom(teacher);
    } else {
      teacher.all().forEach(given -> weights.get(given.name()).value().copyFrom(given.value()));
    }
  }

  private TrainSpec spec(Preconditioning preconditioning) {
    return new TrainSpec(
        recipe.seed(),
        recipe.steps(),
        preconditioning,
        recipe.precision().compute(),
        recipe.average());
  }

  private void requireMetricNetFits() {
    DataCard card = data.card();
    if (!LeNet.accepts(card.height(), card.width())) {
      throw refused(
          "data",
          "must be images for the metric net, %s, got %dx%d"
              .formatted(LeNet.accepted(), card.height(), card.width()));
    }
  }

  private void requireFits(DiffusionNet network) {
    DataCard card = data.card();
    boolean fits =
        network.resolution() == card.height()
            && network.resolution() == card.width()
            && network.imageChannels() == card.channels()
            && (network.classes() == 0 || network.classes() == card.classes().size());
    if (!fits) {
      throw refused(
          recipe.method() + ".teacher",
          "makes %dx%dx%d images of %d classes, but %s has %dx%dx%d images of %d classes"
              .formatted(
                  network.resolution(),
                  network.resolution(),
                  network.imageChannels(),
                  network.classes(),
                  card.name(),
                  card.height(),
                  card.width(),
                  card.channels(),
                  card.classes().size()));
    }
  }

  private ModelFile teacher(@Nullable Path file) {
    if (file != null) {
      return ModelFile.load(file, backend.memory());
    }
    return BuiltIn.teacher(recipe.data(), backend.memory())
        .orElseThrow(() ->
            refused(
                recipe.method() + ".teacher",
                "none is inside Retort for %s; give one with --teacher FILE, or --teacher train"
                    .formatted(recipe.data())));
  }

  private static RecipeException refused(String key, String reason) {
    return new RecipeException("recipe", key, reason);
  }
}
