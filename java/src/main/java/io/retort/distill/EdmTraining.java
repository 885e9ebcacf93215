package io.retort.distill;

import io.retort.data.Batch;
import io.retort.diffusion.Preconditioning;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.op.EdmLoss;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Shape;
import java.util.List;
import java.util.Set;

/// Plain training of a teacher with EDM's denoising loss.
///
/// Source: EDM, Karras et al. 2022, section 5 and table 1. The pixels are averaged instead of
/// summed, so that the loss does not depend on the resolution; Adam does not notice.
///
/// @param network the teacher
public record EdmTraining(DiffusionNet network, Settings settings) implements Method {

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "edm",
          MethodKind.Goal.TEACHER,
          "teacher: denoising with EDM's preconditioning",
          "Karras et al. 2022, arXiv 2206.00364",
          List.of("fashion-mnist-teacher", "fashion-mnist-teacher-guided"),
          "recipes/evidence/",
          Settings.DEFAULT,
          (settings, inputs) -> new EdmTraining(inputs.teacher(), settings),
          MethodKind.Ablations.none());

  /// The method's numbers.
  ///
  /// @param batch images a step
  /// @param sigmaData standard deviation of the data
  /// @param meanLog mean of ln sigma, P_mean, -1.2 in EDM
  /// @param stdLog standard deviation of ln sigma, P_std, 1.2 in EDM
  /// @param labelDropout how often an image comes without its class, for teachers that are to be
  ///   guided
  public record Settings(
      int batch,
      double sigmaData,
      double meanLog,
      double stdLog,
      double labelDropout,
      AdamSpec optimizer)
      implements TeacherTraining {
    public static final Settings DEFAULT =
        new Settings(64, 0.5, -1.2, 1.2, 0, new AdamSpec(1e-3, 0.9, 0.999, 1e-8, 0, 0, 500, 0));

    public Settings {
      Checks.require(batch >= 1, "batch must be at least 1, got " + batch);
      Checks.require(sigmaData > 0, "sigma_data must be above 0, got " + sigmaData);
      Checks.require(stdLog > 0, "std_log must be above 0, got " + stdLog);
      Checks.require(
          labelDropout >= 0 && labelDropout < 1,
          "label_dropout must be in [0, 1), got " + labelDropout);
    }

    @Override
    public Preconditioning preconditioning() {
      return new Preconditioning.Edm(sigmaData);
    }
  }

  @Override
  public String name() {
    return KIND.name();
  }

  @Override
  public int batch() {
    return settings.batch;
  }

  @Override
  public List<Role> roles() {
    return List.of(Role.drawn(TEACHER, network, settings.optimizer, true));
  }

  @Override
  public List<Phase> phases() {
    return List.of(new Phase("denoise", 1, Set.of(TEACHER), this::denoise));
  }

  private Terms denoise(Nets nets, Batch images, Noise noise) {
    Tape tape = nets.tape();
    Var clean = nets.images(images, images.count());
    float[] sigma = noise.logNormal(images.count(), settings.meanLog, settings.stdLog);
    Var noised = noise.add(clean, sigma);
    PhiloxKey dropout = noise.key(Purpose.DROPOUT);
    Var denoised = nets.denoise(TEACHER, noised, sigma, labels(images, noise), dropout);
    Var levels = tape.constant(Shape.of(sigma.length), sigma);
    EdmLoss loss = new EdmLoss(settings.sigmaData, EdmLoss.Pixels.MEAN);
    return WeightedSum.single("denoising", tape.apply(loss, denoised, clean, levels));
  }

  private int[] labels(Batch images, Noise noise) {
    return settings.labelDropout == 0
        ? images.labels()
        : noise.dropped(images.labels(), settings.labelDropout);
  }
}
