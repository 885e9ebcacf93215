package io.retort.report;

import io.retort.data.ImageBytes;
import io.retort.data.Images;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.ImageSampler;
import io.retort.diffusion.KarrasSigmas;
import io.retort.diffusion.LcmSampler;
import io.retort.distill.Distillation;
import io.retort.distill.Method;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Parameters;
import io.retort.net.DiffusionNet;
import io.retort.net.Lora;
import io.retort.op.Backend;
import io.retort.recipe.Recipe;
import io.retort.train.RoleState;
import io.retort.train.Trainer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/// The samplers of a run by the name of their row, and the noise and classes they all start from;
/// all compute in the precision of the run.
final class Generators {
  static final String TEACHER = "teacher";
  static final String TEACHER_ONE_STEP = "teacher_one_step";
  static final String STUDENT = "student";

  /// The same for every run, so that pictures and numbers of two runs can be compared.
  private static final long LATENT_SEED = 271828;

  private Generators() {}

  /// The samplers of a method, the multi-step teacher first; they borrow the trainer's weights.
  /// Empty for a classifier.
  static SequencedMap<String, ImageSampler> of(Recipe recipe, Trainer trainer, Backend backend) {
    SequencedMap<String, ImageSampler> samplers = new LinkedHashMap<>();
    if (recipe.kind().goal() == Goal.METRIC_NET) {
      return samplers;
    }
    RoleState teacher = trainer.roles().get(Method.TEACHER);
    if (teacher != null) {
      Denoiser denoiser = denoiser(teacher, trainer);
      int steps = recipe.evaluation().teacherSteps();
      samplers.put(TEACHER, ImageSampler.of(backend, denoiser, teacher.best(), steps));
      samplers.put(TEACHER_ONE_STEP, ImageSampler.of(backend, denoiser, teacher.best(), 1));
    }
    RoleState student = trainer.roles().get(Method.STUDENT);
    if (student != null) {
      samplers.put(
          STUDENT,
          student(recipe, backend, denoiser(student, trainer), trainer.sampled(Method.STUDENT)));
    }
    return samplers;
  }

  /// A student as the recipe's method means it to be sampled.
  static ImageSampler student(
      Recipe recipe, Backend backend, Denoiser denoiser, Parameters parameters) {
    if (!(recipe.settings() instanceof Distillation distillation)) {
      throw new IllegalStateException(recipe.method() + " has no student");
    }
    List<Double> levels = distillation.levels();
    if (levels.size() > 1) {
      return ImageSampler.of(backend, denoiser, parameters, LcmSampler.of(levels));
    }
    KarrasSigmas edm = KarrasSigmas.EDM;
    KarrasSigmas sigmas = new KarrasSigmas(edm.min(), levels.getFirst(), edm.rho());
    return ImageSampler.of(backend, denoiser, parameters, 1, sigmas);
  }

  /// The sampler whose pictures show how the run is doing: of what is trained.
  static Optional<ImageSampler> shown(SequencedMap<String, ImageSampler> samplers) {
    return Optional.ofNullable(
        samplers.containsKey(STUDENT) ? samplers.get(STUDENT) : samplers.get(TEACHER));
  }

  /// `count` 8-bit images from the shared latents, classes in turn.
  static Images draw(ImageSampler sampler, int count, LongConsumer progress) {
    DiffusionNet network = sampler.denoiser().network();
    int[] labels = new int[count];
    byte[] classes = new byte[count];
    for (int i = 0; i < count; i++) {
      labels[i] = network.classes() == 0 ? 0 : i % network.classes();
      classes[i] = (byte) labels[i];
    }
    int @Nullable [] asked = network.classes() == 0 ? null : labels;
    float[] images = sampler.sample(sampler.latents(LATENT_SEED, 0, count), asked, progress);
    return new Images(
        count,
        network.resolution(),
        network.resolution(),
        network.imageChannels(),
        ImageBytes.quantise(images),
        classes);
  }

  private static Denoiser denoiser(RoleState role, Trainer trainer) {
    return switch (role.role().net()) {
      case DiffusionNet network ->
          new Denoiser(network, trainer.spec().preconditioning(), trainer.spec().compute());
      case Lora lora ->
          new Denoiser(lora.base(), trainer.spec().preconditioning(), trainer.spec().compute());
      default -> throw new IllegalStateException(role.role().name() + " draws no images");
    };
  }
}
