package io.retort.recipe;

import io.retort.checkpoint.ModelConfig;
import io.retort.checkpoint.ModelFile;
import io.retort.checkpoint.TrainingCheckpoint;
import io.retort.data.BatchSampler;
import io.retort.data.DataCard;
import io.retort.data.Dataset;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.Preconditioning;
import io.retort.distill.ClassifierTraining;
import io.retort.distill.Dmd2;
import io.retort.distill.EdmTraining;
import io.retort.distill.EmbeddingLoss;
import io.retort.distill.Method;
import io.retort.grad.Parameters;
import io.retort.net.DiffusionNet;
import io.retort.net.LeNet;
import io.retort.net.SongUNet;
import io.retort.net.UNet;
import io.retort.op.Backend;
import io.retort.op.MmdKernel;
import io.retort.optim.AdamSpec;
import io.retort.recipe.Recipe.Network;
import io.retort.tensor.ShapeException;
import io.retort.train.TrainSpec;
import io.retort.train.Trainer;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// Makes what a recipe describes: the method, the numbers of its loop, the first weights of its
/// roles.
///
/// @param recipe what is wanted
/// @param data its data set
/// @param backend where the weights live
public record Wiring(Recipe recipe, Dataset data, Backend backend) {
  /// Value of `dmd2.teacher`: the one inside the jar.
  public static final String BUILT_IN = "builtin";

  /// Value of `dmd2.teacher`: one that the run trains first.
  public static final String TRAIN = "train";

  /// A trainer at step 0; closed by the caller.
  ///
  /// @param teacher run directory or file of the teacher, null for the one inside the jar; not
  ///   looked at by methods without one
  /// @throws io.retort.checkpoint.CheckpointException if the teacher cannot be loaded
  /// @throws RecipeException if parts of the recipe do not fit together
  public Trainer fresh(@Nullable Path teacher) {
    return switch (recipe.method()) {
      case EDM -> drawn(edm(), trained());
      case CLASSIFIER -> drawn(classifier(), trained());
      case DMD2 -> {
        try (ModelFile model = teacher(teacher)) {
          yield fromTeacher(model);
        }
      }
    };
  }

  /// A trainer that continues from a checkpoint of the same recipe; needs no teacher file.
  ///
  /// @param config the `config.json` of the run
  public Trainer restored(Path checkpoint, Path config) {
    Trainer trainer =
        switch (recipe.method()) {
          case EDM -> drawn(edm(), trained());
          case CLASSIFIER -> drawn(classifier(), trained());
          case DMD2 -> {
            Denoiser denoiser = ModelConfig.read(config);
            yield drawn(dmd2(denoiser), denoiser.preconditioning());
          }
        };
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
    return new BatchSampler(
        data.trainingSource(), method.batch(), recipe.seed(), 0, data.card().flipAllowed());
  }

  /// The preconditioning of networks that are trained from nothing.
  private Preconditioning trained() {
    return new Preconditioning.Edm(recipe.edm().sigmaData());
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
    Trainer trainer = drawn(dmd2(teacher.denoiser()), teacher.denoiser().preconditioning());
    trainer
        .roles()
        .forEach((name, state) -> {
          if (state.role().init().isPresent()) {
            state.weights().copyFrom(teacher.parameters());
            if (state.average() != null) {
              state.average().copyFrom(teacher.parameters());
            }
          }
        });
    return trainer;
  }

  private TrainSpec spec(Preconditioning preconditioning) {
    return new TrainSpec(
        recipe.seed(),
        recipe.steps(),
        preconditioning,
        recipe.precision().compute(),
        optimizers(),
        recipe.average());
  }

  private Map<String, AdamSpec> optimizers() {
    return switch (recipe.method()) {
      case EDM -> Map.of(EdmTraining.TEACHER, recipe.edm().optimizer());
      case CLASSIFIER -> Map.of(ClassifierTraining.CLASSIFIER, recipe.classifier().optimizer());
      case DMD2 ->
          Map.of(
              Dmd2.STUDENT, recipe.dmd2().student(),
              Dmd2.CRITIC, recipe.dmd2().critic(),
              Dmd2.HEAD, recipe.dmd2().critic());
    };
  }

  private EdmTraining edm() {
    DataCard card = data.card();
    Network network = recipe.network();
    if (card.height() != card.width()) {
      throw refused("data", "must be square images, got " + card.height() + "x" + card.width());
    }
    SongUNet net;
    try {
      net =
          new SongUNet(
              new SongUNet.Config(
                  card.height(),
                  card.channels(),
                  network.conditional() ? card.classes().size() : 0,
                  network.channels(),
                  network.multipliers(),
                  network.blocks(),
                  network.attention(),
                  network.dropout(),
                  0));
    } catch (ShapeException wrong) {
      throw refused("network", String.valueOf(wrong.getMessage()));
    }
    Recipe.Edm edm = recipe.edm();
    return new EdmTraining(net, edm.batch(), edm.sigmaData(), edm.meanLog(), edm.stdLog());
  }

  private ClassifierTraining classifier() {
    DataCard card = data.card();
    if (!LeNet.accepts(card.height(), card.width())) {
      throw refused(
          "data",
          "must be images for the metric net, %s, got %dx%d"
              .formatted(LeNet.accepted(), card.height(), card.width()));
    }
    return new ClassifierTraining(
        new LeNet(card.height(), card.channels(), card.classes().size()),
        recipe.classifier().batch());
  }

  private Dmd2 dmd2(Denoiser teacher) {
    requireFits(teacher.network());
    Recipe.Dmd2 dmd2 = recipe.dmd2();
    Recipe.Embedding embedding = dmd2.embedding();
    Dmd2.Settings settings =
        new Dmd2.Settings(
            dmd2.batch(),
            dmd2.realBatch(),
            dmd2.criticSteps(),
            dmd2.sigmaMax(),
            dmd2.distributionMatching(),
            dmd2.gan(),
            dmd2.criticGan(),
            embedding.weight() > 0 ? embeddingLoss() : null,
            embedding.weight(),
            embedding.calibrated(),
            teacher.preconditioning() instanceof Preconditioning.Edm edm
                ? edm.sigmaData()
                : recipe.edm().sigmaData());
    return new Dmd2(teacher.network(), settings);
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
          "dmd2.teacher",
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
    boolean discriminable = network instanceof UNet unet && unet.bottleneckSide() >= 2;
    if (recipe.dmd2().gan() > 0 && !discriminable) {
      throw refused(
          "dmd2.gan",
          "must be 0: it needs a U-Net as teacher whose bottleneck has a side of at least 2");
    }
  }

  private EmbeddingLoss embeddingLoss() {
    Recipe.Embedding embedding = recipe.dmd2().embedding();
    return new EmbeddingLoss(
        embedding.bank(),
        embedding.networks(),
        embedding.width(),
        embedding.depth(),
        kernel(embedding.kernel()),
        embedding.unbiased());
  }

  /// Features are divided by the root of their dimension already, so the polynomial's scale is 1.
  private static MmdKernel kernel(Recipe.Embedding.Kernel kernel) {
    return switch (kernel) {
      case LINEAR -> new MmdKernel.Linear();
      case RBF -> MmdKernel.Rbf.standard();
      case POLYNOMIAL -> new MmdKernel.Polynomial(3, 1, 1);
      case ENERGY -> new MmdKernel.Energy();
    };
  }

  private ModelFile teacher(@Nullable Path file) {
    if (file != null) {
      return ModelFile.load(file, backend.memory());
    }
    return BuiltIn.teacher(recipe.data(), backend.memory())
        .orElseThrow(() ->
            refused(
                "dmd2.teacher",
                "none is inside Retort for %s; give one with --teacher FILE, or --teacher train"
                    .formatted(recipe.data())));
  }

  private static RecipeException refused(String key, String reason) {
    return new RecipeException("recipe", key, reason);
  }
}
