package io.retort.distill;

import io.retort.data.Batch;
import io.retort.diffusion.KarrasSigmas;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.op.EdmLoss;
import io.retort.op.SidLoss;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Shape;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// Score identity distillation (SiD), and with a GAN term SiDA.
///
/// Critic phase: EDM's loss summed over pixels, and for SiDA the discriminator's: its logits are
/// the channel mean of the critic's bottleneck, under the noise and levels of the denoising.
/// Student phase: `scale sum (r - f) ((r - x) - alpha (r - f)) / w / N` with gradients through
/// teacher r and critic f into the images. A student of several steps is matched at each of them,
/// drawn uniformly (the uniform mixture of few-step SiD); its guidance comes from the critic, which
/// is not told the class (Zero-CFG), or is pushed away from it (Anti-CFG: `f = f_null - strength
/// (f_class - f_null)`), while the teacher stays unguided. Sources: Zhou et al. 2024 (arXiv
/// 2404.04057), algorithm 1; SiDA, arXiv 2410.14919; few steps, arXiv 2505.12674.
public record Sid(DiffusionNet network, Settings settings, double sigmaData) implements Method {

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "sid",
          Goal.STUDENT,
          "one- or few-step student: Fisher divergence through teacher and critic, optional GAN",
          "Zhou et al. 2024, arXiv 2404.04057, 2410.14919, 2505.12674",
          List.of("fashion-mnist-sid", "fashion-mnist-sida", "fashion-mnist-sid-few-step"),
          "recipes/evidence/METHODS.md",
          Settings.DEFAULT,
          (settings, inputs) -> new Sid(inputs.teacher(), settings, inputs.sigmaData()),
          Sid::ablations);

  private static final double FLOOR = 1e-5;
  private static final double CLAMP = 10;

  /// What the critic knows of the class; the teacher is always told it.
  public enum Guidance {
    /// As much as the teacher.
    NONE,
    /// Nothing, neither here nor while it learns.
    ZERO_CFG,
    /// It is guided away from the class.
    ANTI_CFG
  }

  /// The method's numbers.
  ///
  /// @param teacher `builtin`, `train`, a run directory or a model file
  /// @param batch generated images a step, and real ones for the discriminator
  /// @param sigmaMax noise level the student starts from, the paper's init_sigma of 2.5
  /// @param steps of the student
  /// @param mixture whether each of its steps is matched, or the last one alone
  /// @param guidance what the critic knows of the class
  /// @param strength of Anti-CFG, how far it is guided away
  /// @param labelDropout how often the critic of Anti-CFG learns without the class
  /// @param alpha how much of the bias is taken out, 1.2; SiDA 1
  /// @param scale of the student's loss, 100
  /// @param highest largest time of the student's loss in units of 1, the paper's tmax of 800 of
  ///   1000
  /// @param meanLog mean of ln sigma of the critic
  /// @param stdLog its standard deviation
  /// @param gan weight of the student's GAN loss against `1 - gan` for the divergence, 0 for SiD,
  ///   0.5 for SiDA
  /// @param ganScale of the GAN loss beside the number of pixels, 0.01
  /// @param criticGan weight of the discriminator's loss, 1
  /// @param criticAlone steps in which critic and discriminator train alone
  /// @param ganFrom the first step with a GAN term in the student's loss
  public record Settings(
      String teacher,
      int batch,
      double sigmaMax,
      int steps,
      boolean mixture,
      Guidance guidance,
      double strength,
      double labelDropout,
      double alpha,
      double scale,
      double highest,
      double meanLog,
      double stdLog,
      double gan,
      double ganScale,
      double criticGan,
      long criticAlone,
      long ganFrom,
      AdamSpec student,
      AdamSpec critic)
      implements Distillation {
    public static final Settings DEFAULT =
        new Settings(
            "builtin",
            32,
            2.5,
            1,
            true,
            Guidance.NONE,
            1,
            0.1,
            1.2,
            100,
            0.8,
            -1.2,
            1.2,
            0,
            0.01,
            1,
            0,
            0,
            new AdamSpec(1e-4, 0, 0.999, 1e-8, 0, 0, 20, 400),
            new AdamSpec(3e-4, 0, 0.999, 1e-8, 0, 0, 20, 400));

    public Settings {
      Checks.teacher(teacher);
      Checks.require(batch >= 1, "batch must be at least 1, got " + batch);
      Checks.levels(sigmaMax, steps);
      Checks.require(strength > 0, "strength must be above 0, got " + strength);
      Checks.require(
          labelDropout >= 0 && labelDropout < 1,
          "label_dropout must be in [0, 1), got " + labelDropout);
      Checks.require(scale > 0, "scale must be above 0, got " + scale);
      Checks.require(highest > 0 && highest <= 1, "highest must be in (0, 1], got " + highest);
      Checks.require(stdLog > 0, "std_log must be above 0, got " + stdLog);
      Checks.require(gan >= 0 && gan < 1, "gan must be in [0, 1), got " + gan);
      Checks.require(ganScale > 0 && criticGan > 0, "gan_scale and critic_gan must be above 0");
      Checks.require(
          criticAlone >= 0 && ganFrom >= 0, "critic_alone and gan_from must be at least 0");
    }

    @Override
    public List<Double> levels() {
      return Generator.levels(sigmaMax, steps);
    }

    boolean adversarial() {
      return gan > 0;
    }
  }

  /// @throws IllegalArgumentException if a discriminator is wanted and the network has no
  ///   bottleneck for it, or guidance and it has no null class
  public Sid {
    Checks.require(
        settings.guidance == Guidance.NONE || network.classes() > 0 && network.hasNullClass(),
        "guidance must be none for a teacher without classes, or without a null class");
    if (settings.adversarial()) {
      Adversarial.requireBottleneck(network);
    }
  }

  private static SequencedMap<String, String> ablations(Settings settings) {
    SequencedMap<String, String> controls = new LinkedHashMap<>();
    if (settings.steps > 1 && settings.mixture) {
      controls.put("student_without_mixture", "mixture=false");
    }
    if (settings.guidance != Guidance.NONE) {
      controls.put("student_without_guidance", "guidance=none");
    }
    if (settings.adversarial()) {
      controls.put("student_without_gan", "gan=0");
    }
    controls.put("student_without_correction", "alpha=0");
    return controls;
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
    return ScoreMatching.roles(network, settings.student, settings.critic);
  }

  @Override
  public List<Phase> phases() {
    return List.of(
        new Phase(CRITIC, 1, Set.of(CRITIC), this::critic),
        new Phase(STUDENT, 1, settings.criticAlone, Set.of(STUDENT), this::student));
  }

  private Terms critic(Nets nets, Batch real, Noise noise) {
    int[] labels = learnt(real, noise);
    Var fake = generate(nets, real, noise).detach();
    float[] sigma = noise.logNormal(settings.batch, settings.meanLog, settings.stdLog);
    PhiloxKey shared = noise.key(Purpose.NOISE);
    Var noised = Noise.add(fake, sigma, shared);
    Var level = nets.tape().constant(Shape.of(sigma.length), sigma);
    Var denoised = nets.denoise(CRITIC, noised, sigma, labels);
    WeightedSum sum = new WeightedSum(nets.tape());
    EdmLoss loss = new EdmLoss(sigmaData, EdmLoss.Pixels.SUM);
    sum.add("denoising", 1, nets.tape().apply(loss, denoised, fake, level));
    if (settings.adversarial()) {
      Var reals = Noise.add(nets.images(real, settings.batch), sigma, shared);
      Var discriminator =
          Adversarial.discriminator(
              logits(nets, noised, sigma, labels), logits(nets, reals, sigma, labels));
      sum.add("discriminator", settings.criticGan * meanWeight(sigma) / 2, discriminator);
    }
    return sum.terms();
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    int[] labels = real.labels();
    Var x = generate(nets, real, noise);
    float[] sigma =
        noise.places(
            KarrasSigmas.EDM, nets.preconditioning(), settings.batch, 1 - settings.highest);
    Var noised = noise.add(x, sigma);
    Var byTeacher = nets.denoise(TEACHER, noised, sigma, labels);
    Var byCritic = critic(nets, noised, sigma, labels);
    Var divergence = nets.tape().apply(new SidLoss(settings.alpha, FLOOR), x, byTeacher, byCritic);
    boolean adversarial = settings.adversarial() && noise.step() >= settings.ganFrom;
    WeightedSum sum = new WeightedSum(nets.tape());
    sum.add("divergence", settings.scale * (adversarial ? 1 - settings.gan : 1), divergence);
    if (adversarial) {
      double pixels = x.shape().elements() / (double) settings.batch;
      Var deception = deception(logits(nets, noised, sigma, told(labels)), distances(x, byTeacher));
      sum.add("gan", settings.gan * settings.ganScale * pixels, deception);
    }
    return sum.terms();
  }

  /// The critic's images in the student's loss.
  private Var critic(Nets nets, Var noised, float[] sigma, int[] labels) {
    Var seen = nets.denoise(CRITIC, noised, sigma, told(labels));
    if (settings.guidance != Guidance.ANTI_CFG) {
      return seen;
    }
    Var untold = nets.denoise(CRITIC, noised, sigma, null);
    return untold.add(1 + settings.strength, seen, -settings.strength);
  }

  /// The classes as the critic is told them: none under Zero-CFG.
  private int @Nullable [] told(int[] labels) {
    return settings.guidance == Guidance.ZERO_CFG ? null : labels;
  }

  /// The classes that the critic learns with.
  private int[] learnt(Batch real, Noise noise) {
    return switch (settings.guidance) {
      case NONE -> real.labels();
      case ZERO_CFG -> noise.dropped(real.labels(), 1);
      case ANTI_CFG -> noise.dropped(real.labels(), settings.labelDropout);
    };
  }

  private Var generate(Nets nets, Batch real, Noise noise) {
    Generator generator = new Generator(settings.levels(), true);
    Var images = nets.images(real, settings.batch);
    return settings.mixture
        ? generator.images(nets, real.labels(), images, noise)
        : generator.images(nets, real.labels(), images, settings.steps - 1, noise);
  }

  /// SiDA's discriminator has no weights of its own: `(N, side, side)`.
  private static Var logits(Nets nets, Var noised, float[] sigma, int @Nullable [] labels) {
    return nets.encode(CRITIC, noised, sigma, labels).mean(3);
  }

  /// `mean_n softplus(-logits) / w_n`, the logits clamped.
  private static Var deception(Var logits, Var distances) {
    Var clamped =
        logits
            .affine(1, CLAMP)
            .relu()
            .add(1, logits.affine(1, -CLAMP).relu(), -1)
            .affine(1, -CLAMP);
    return clamped.scale(-1).softplus().mean(1, 2).mul(inverse(distances)).mean();
  }

  /// `max(mean |x - r|, floor)` per sample `(N)`, without gradient.
  private static Var distances(Var x, Var byTeacher) {
    Var far = x.detach().sub(byTeacher.detach()).abs().mean(1, 2, 3);
    return far.affine(1, -FLOOR).relu().affine(1, FLOOR);
  }

  /// `1 / x` of numbers above 0.
  private static Var inverse(Var positive) {
    return positive.log().scale(-1).exp();
  }

  /// EDM's weight `1 / sigma^2 + 1 / sigmaData^2`, averaged: SiDA multiplies it with a loss that is
  /// a mean already.
  private double meanWeight(float[] sigma) {
    double sum = 0;
    for (float s : sigma) {
      sum += 1 / ((double) s * s) + 1 / (sigmaData * sigmaData);
    }
    return sum / sigma.length;
  }
}
