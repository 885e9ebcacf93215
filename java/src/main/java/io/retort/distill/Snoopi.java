package io.retort.distill;

import io.retort.data.Batch;
import io.retort.diffusion.Denoiser;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.op.EdmLoss;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;

/// SNOOPI: variational score distillation into one step with guidance of a random scale (PG-SB) and
/// a student that is steered away from classes (NASA).
///
/// Every step draws a scale k for teacher and critic, and for every image a class to stay away from
/// and how much, `a`; the student is given `class - a other`. The teacher is guided away from that
/// class, `(1 - k) D(other) + k D(class)`, the critic, which never hears of it, from no class. `g =
/// sigma / (1 + sigma^2) (D_critic - D_teacher)`; `mean(g^2) / 2` with g held constant. Then the
/// critic's denoising loss on the same images. Source: Nguyen et al. 2024 (arXiv 2412.02687).
public record Snoopi(DiffusionNet network, Settings settings, double sigmaData) implements Method {

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "snoopi",
          Goal.STUDENT,
          "one-step student: VSD with a random guidance scale and negative classes (PG-SB, NASA)",
          "Nguyen et al. 2024, arXiv 2412.02687",
          List.of("fashion-mnist-snoopi"),
          "none yet",
          Settings.DEFAULT,
          (settings, inputs) -> new Snoopi(inputs.teacher(), settings, inputs.sigmaData()),
          Snoopi::ablations);

  private static final String GENERATED = "generated";

  /// The method's numbers.
  ///
  /// @param teacher `train`, a run directory or a model file; it has to be trained with
  ///   `edm.label_dropout`
  /// @param batch generated images a step
  /// @param sigmaMax noise level the student starts from
  /// @param guidance smallest scale of teacher and critic
  /// @param guidanceHigh largest one, drawn uniformly for every step; the smallest one for a fixed
  ///   scale
  /// @param steer largest strength of the class to stay away from, drawn uniformly for every image;
  ///   0 for none
  /// @param labelDropout how often the critic is not told the class
  public record Settings(
      String teacher,
      int batch,
      double sigmaMax,
      double guidance,
      double guidanceHigh,
      double steer,
      double labelDropout,
      AdamSpec student,
      AdamSpec critic)
      implements Distillation {
    public static final Settings DEFAULT =
        new Settings(
            "train",
            32,
            80,
            0.5,
            4,
            1,
            0.1,
            new AdamSpec(3e-4, 0, 0.999, 1e-8, 0, 10, 20, 360),
            new AdamSpec(5e-4, 0, 0.999, 1e-8, 0, 10, 20, 360));

    public Settings {
      Checks.teacher(teacher);
      Checks.require(batch >= 1, "batch must be at least 1, got " + batch);
      Checks.levels(sigmaMax, 1);
      Checks.require(
          guidance >= 0 && guidanceHigh >= guidance,
          "guidance must be at least 0 and guidance_high not below it, got %s and %s"
              .formatted(guidance, guidanceHigh));
      Checks.require(steer >= 0, "steer must be at least 0, got " + steer);
      Checks.require(
          labelDropout >= 0 && labelDropout < 1,
          "label_dropout must be in [0, 1), got " + labelDropout);
    }

    @Override
    public List<Double> levels() {
      return List.of(sigmaMax);
    }

    boolean guides() {
      return guidance != 1 || guidanceHigh != 1;
    }
  }

  /// @throws IllegalArgumentException if images are to be steered and there are no two classes, or
  ///   guided and there is no null class
  public Snoopi {
    ScoreMatching.requireNullClass(network, settings.guides(), settings.labelDropout);
    Checks.require(
        settings.steer == 0 || network.classes() >= 2,
        "steer must be 0: the teacher has no classes to stay away from");
  }

  private static SequencedMap<String, String> ablations(Settings settings) {
    SequencedMap<String, String> controls = new LinkedHashMap<>();
    if (settings.guidanceHigh > settings.guidance) {
      controls.put("student_of_one_scale", "guidance=" + settings.guidanceHigh);
    }
    if (settings.steer > 0) {
      controls.put("student_without_negatives", "steer=0");
    }
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
    return List.of(
        Role.frozen(TEACHER, network),
        Role.copied(STUDENT, network, settings.student, true),
        Role.copied(CRITIC, network, settings.critic, false));
  }

  @Override
  public List<Phase> phases() {
    return List.of(
        new Phase(STUDENT, 1, Set.of(STUDENT), this::student),
        new Phase(CRITIC, 1, Set.of(CRITIC), this::critic));
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    int[] labels = real.labels();
    Denoiser.Away away = away(labels, noise);
    Var x = generate(nets, labels, away, noise);
    nets.leave(GENERATED, x);
    float[] sigma = ScoreMatching.middleBins(nets, settings.batch, noise);
    double scale =
        settings.guidance
            + (settings.guidanceHigh - settings.guidance)
                * Philox.uniform(noise.key(Purpose.TIME), 0);
    Var noised = noise.add(x.detach(), sigma);
    Var byTeacher = byTeacher(nets, noised, sigma, labels, away, scale);
    Var byCritic = ScoreMatching.guided(nets, CRITIC, noised, sigma, labels, scale);
    return WeightedSum.single(
        "score_difference", ScoreMatching.variational(x, byTeacher, byCritic, sigma));
  }

  private Var byTeacher(
      Nets nets, Var noised, float[] sigma, int[] labels, Denoiser.Away away, double scale) {
    if (settings.steer == 0) {
      return ScoreMatching.guided(nets, TEACHER, noised, sigma, labels, scale);
    }
    Var wanted = nets.denoise(TEACHER, noised, sigma, labels).detach();
    Var unwanted = nets.denoise(TEACHER, noised, sigma, away.classes()).detach();
    return unwanted.add(1 - scale, wanted, scale);
  }

  /// A class other than each image's own, and how far from it.
  private Denoiser.Away away(int[] labels, Noise noise) {
    PhiloxKey which = noise.key(Purpose.DATA);
    PhiloxKey howMuch = noise.key(Purpose.TIME);
    int classes = network.classes();
    int[] others = new int[labels.length];
    float[] strength = new float[labels.length];
    for (int i = 0; i < others.length && classes >= 2; i++) {
      others[i] = (labels[i] + 1 + Philox.below(which, i, classes - 1)) % classes;
      strength[i] = (float) (settings.steer * Philox.uniform(howMuch, i));
    }
    return new Denoiser.Away(others, strength);
  }

  private Var generate(Nets nets, int[] labels, Denoiser.Away away, Noise noise) {
    double top = Generator.oneStep(settings.sigmaMax).start(nets.preconditioning());
    float[] start = new float[labels.length];
    Arrays.fill(start, (float) top);
    Var latents = noise.normal(nets.tape(), nets.images(STUDENT, labels.length), top);
    return nets.steered(STUDENT, latents, start, labels, away);
  }

  private Terms critic(Nets nets, Batch real, Noise noise) {
    Var fake = nets.left(GENERATED).orElseThrow();
    float[] sigma = ScoreMatching.bins(nets, settings.batch, noise);
    EdmLoss loss = new EdmLoss(sigmaData, EdmLoss.Pixels.MEAN);
    int[] labels = noise.dropped(real.labels(), settings.labelDropout);
    return WeightedSum.single(
        "denoising", ScoreMatching.denoising(loss, nets, fake, sigma, labels, noise));
  }
}
