package io.retort.distill;

import io.retort.data.Batch;
import io.retort.diffusion.KarrasSigmas;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.op.EdmLoss;
import io.retort.op.ScoreDifference;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey.Purpose;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;

/// Flash-DMD: the score difference where noise is large and a GAN where it is small, a critic that
/// is drawn towards the student, and then preferences beside the distillation.
///
/// Distillation: DMD's score difference at levels above `threshold`; heads on the features that the
/// frozen teacher makes of student and real images below it. After a student update `critic = keep
/// critic + (1 - keep) student`. From step `jointFrom` on, pairs of images of one class are ranked
/// by their reward, and the student's denoising error moves from its worse ones to its better ones,
/// against that of the student of that step: `-ln sigmoid(beta (d_w - d_l))`, `d = -w(sigma) (mean
/// |D(x_s) - x|^2 - mean |D_reference(x_s) - x|^2)`, while the distillation goes on every
/// `jointEvery` steps. Source: Flash-DMD, 2025 (arXiv 2511.20549); the preference loss after
/// Wallace et al. 2023 (arXiv 2311.12908).
public record FlashDmd(DiffusionNet network, Settings settings, double sigmaData)
    implements Method {
  public static final String HEADS = "heads";
  public static final String REFERENCE = "reference";

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "flash_dmd",
          Goal.STUDENT,
          "few-step student: score difference for much noise, GAN for little, then preferences",
          "2025, arXiv 2511.20549",
          List.of("fashion-mnist-flash-dmd"),
          "recipes/evidence/METHODS.md",
          Settings.DEFAULT,
          (settings, inputs) -> new FlashDmd(inputs.teacher(), settings, inputs.sigmaData()),
          FlashDmd::ablations);

  private static final String GENERATED = "generated";
  private static final int BINS = 1000;
  private static final double LEAST = 0.02;
  private static final double MOST = 0.98;
  private static final ScoreDifference DIFFERENCE =
      new ScoreDifference(ScoreDifference.Form.DMD, 1e-6);

  /// The method's numbers.
  ///
  /// @param teacher `builtin`, `train`, a run directory or a model file
  /// @param batch generated images a step, and real ones; even
  /// @param criticSteps critic updates per student update, 1 or 2 in the paper
  /// @param sigmaMax noise level the student starts from
  /// @param steps of the student
  /// @param threshold place of the bins of EDM's curve that parts much noise from little
  /// @param split whether the losses keep to their part; both look at all levels otherwise
  /// @param gan weight of the student's GAN loss, 0 for none
  /// @param keep what the critic keeps of itself after a student update, 1 for all
  /// @param jointFrom the first step with preferences
  /// @param jointEvery steps between two student updates of the distillation from then on
  /// @param beta of the preferences, 0 for none
  /// @param rewards what ranks images
  public record Settings(
      String teacher,
      int batch,
      int criticSteps,
      double sigmaMax,
      int steps,
      double threshold,
      boolean split,
      double gan,
      double keep,
      long jointFrom,
      int jointEvery,
      double beta,
      Rewards rewards,
      FeatureGan heads,
      AdamSpec student,
      AdamSpec critic)
      implements Distillation {
    public static final Settings DEFAULT =
        new Settings(
            "builtin",
            32,
            2,
            80,
            2,
            0.5,
            true,
            0.1,
            0.97,
            700,
            5,
            1,
            new Rewards(1, 1, 16, Rewards.OFF.classifier()),
            FeatureGan.DEFAULT,
            new AdamSpec(3e-5, 0, 0.99, 1e-8, 0, 10, 20, 360),
            new AdamSpec(5e-4, 0, 0.99, 1e-8, 0, 10, 20, 360));

    public Settings {
      Checks.teacher(teacher);
      Checks.require(
          batch >= 2 && batch % 2 == 0, "batch must be even and at least 2, got " + batch);
      Checks.require(criticSteps >= 1, "critic_steps must be at least 1, got " + criticSteps);
      Checks.levels(sigmaMax, steps);
      Checks.require(
          threshold > LEAST && threshold < MOST,
          "threshold must be between 0.02 and 0.98, got " + threshold);
      Checks.require(gan >= 0, "gan must be at least 0, got " + gan);
      Checks.require(keep >= 0 && keep <= 1, "keep must be in [0, 1], got " + keep);
      Checks.require(
          jointFrom >= 0 && jointEvery >= 1,
          "joint_from must be at least 0 and joint_every at least 1");
      Checks.require(beta >= 0, "beta must be at least 0, got " + beta);
      Checks.require(
          beta == 0 || rewards.on(),
          "beta must be 0, or one of rewards.confidence and rewards.sharpness above 0");
    }

    @Override
    public List<Double> levels() {
      return Generator.levels(sigmaMax, steps);
    }

    boolean adversarial() {
      return gan > 0;
    }

    boolean prefers() {
      return beta > 0;
    }
  }

  /// @throws IllegalArgumentException if a discriminator is wanted and the network has no
  ///   bottleneck, or a classifier and it has no classes
  public FlashDmd {
    if (settings.adversarial()) {
      FeatureGan.maps(network);
    }
    if (settings.prefers()) {
      settings.rewards.requireFits(network);
    }
  }

  private static SequencedMap<String, String> ablations(Settings settings) {
    SequencedMap<String, String> controls = new LinkedHashMap<>();
    if (settings.split && settings.adversarial()) {
      controls.put("student_of_all_levels", "split=false");
    }
    if (settings.keep < 1) {
      controls.put("student_without_drawn_critic", "keep=1");
    }
    if (settings.prefers()) {
      controls.put("student_without_preferences", "beta=0");
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
    List<Role> roles = new ArrayList<>();
    roles.add(Role.frozen(TEACHER, network));
    roles.add(Role.copied(STUDENT, network, settings.student, true));
    roles.add(Role.copied(CRITIC, network, settings.critic, false));
    if (settings.adversarial()) {
      FeatureGan heads = settings.heads;
      roles.add(Role.drawn(HEADS, heads.heads(network, 1), heads.optimizer(), false));
    }
    if (settings.prefers()) {
      roles.add(Role.frozen(REFERENCE, network));
      roles.addAll(settings.rewards.roles(network));
    }
    return roles;
  }

  @Override
  public List<Phase> phases() {
    long joint = settings.prefers() ? settings.jointFrom : Long.MAX_VALUE;
    List<Phase> phases = new ArrayList<>();
    phases.add(new Phase(STUDENT, settings.criticSteps, 0, joint, Set.of(STUDENT), this::student));
    if (settings.prefers()) {
      phases.add(
          new Phase("joint_student", settings.jointEvery, joint, Set.of(STUDENT), this::student));
    }
    phases.add(new Phase(CRITIC, 1, Set.of(CRITIC), this::critic));
    if (settings.adversarial()) {
      phases.add(new Phase(HEADS, 1, Set.of(HEADS), this::heads));
    }
    if (settings.prefers()) {
      phases.addAll(settings.rewards.phases());
      phases.add(new Phase("preference", 1, joint, Set.of(STUDENT), this::preference));
    }
    return phases;
  }

  /// The critic follows every student update; the reference is the student that preferences start
  /// from.
  @Override
  public List<Blend> blends(long step) {
    List<Blend> blends = new ArrayList<>();
    boolean joint = settings.prefers() && step >= settings.jointFrom;
    if (settings.keep < 1 && (joint || step % settings.criticSteps == 0)) {
      blends.add(new Blend(CRITIC, STUDENT, settings.keep));
    }
    if (settings.prefers() && step == settings.jointFrom - 1) {
      blends.add(new Blend(REFERENCE, STUDENT, 0));
    }
    return blends;
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    int[] labels = real.labels();
    Var x = generate(nets, real, labels, noise);
    nets.leave(GENERATED, x);
    WeightedSum sum = new WeightedSum(nets.tape());
    float[] sigma = bins(nets, noise, settings.split ? settings.threshold : LEAST, MOST);
    sum.add(
        "distribution_matching",
        1,
        ScoreMatching.difference(DIFFERENCE, nets, x, sigma, labels, noise));
    if (settings.adversarial()) {
      float[] little = little(nets, noise);
      List<Var> fake = logits(nets, noise.add(x, little), little, labels);
      GanForm form = settings.heads.form();
      List<Var> reals =
          form.paired()
              ? logits(nets, noise.add(nets.images(real, settings.batch), little), little, labels)
              : List.of();
      sum.add("gan", settings.gan, form.generator(fake, reals));
    }
    return sum.terms();
  }

  private Terms critic(Nets nets, Batch real, Noise noise) {
    float[] sigma = ScoreMatching.bins(nets, settings.batch, noise);
    EdmLoss loss = new EdmLoss(sigmaData, EdmLoss.Pixels.MEAN);
    Var fake = fake(nets, real, noise);
    return WeightedSum.single(
        "denoising", ScoreMatching.denoising(loss, nets, fake, sigma, real.labels(), noise));
  }

  private Terms heads(Nets nets, Batch real, Noise noise) {
    int[] labels = real.labels();
    Var fake = fake(nets, real, noise);
    float[] ofFake = little(nets, noise);
    float[] ofReal = little(nets, noise);
    WeightedSum sum = new WeightedSum(nets.tape());
    settings.heads.teach(
        sum,
        1,
        logits(nets, noise.add(fake, ofFake), ofFake, labels),
        noise.add(nets.images(real, settings.batch), ofReal),
        noised -> logits(nets, noised, ofReal, labels),
        noise);
    return sum.terms();
  }

  /// The first half of the batch against the second, place by place of one class.
  private Terms preference(Nets nets, Batch real, Noise noise) {
    int half = settings.batch / 2;
    int[] labels = real.labels(settings.batch);
    System.arraycopy(labels, 0, labels, half, half);
    Var x = generate(nets, real, labels, noise).detach();
    Var scores = settings.rewards.mixed(settings.rewards.each(nets, x, labels), settings.batch);
    Var better = sign(scores.slice(0, 0, half).sub(scores.slice(0, half, settings.batch)).detach());
    Var gain = gain(nets, x, labels, noise);
    Var margin = gain.slice(0, 0, half).sub(gain.slice(0, half, settings.batch)).mul(better);
    WeightedSum sum = new WeightedSum(nets.tape());
    sum.add("preference", 1, margin.scale(-settings.beta).softplus().mean());
    return sum.terms();
  }

  /// How much better than the reference the student denoises every image `(N)`, at one of its
  /// levels, in EDM's weight.
  private Var gain(Nets nets, Var x, int[] labels, Noise noise) {
    List<Double> levels = settings.levels();
    int level = Philox.below(noise.key(Purpose.TIME), 0, levels.size());
    double at = nets.preconditioning().start(levels.get(level));
    float[] sigma = new float[labels.length];
    Arrays.fill(sigma, (float) at);
    Var noised = noise.add(x, sigma);
    Var ours = nets.denoise(STUDENT, noised, sigma, labels).sub(x).square().mean(1, 2, 3);
    Var before =
        nets.denoise(REFERENCE, noised, sigma, labels).detach().sub(x).square().mean(1, 2, 3);
    return before.sub(ours).scale(1 / (at * at) + 1 / (sigmaData * sigmaData));
  }

  /// 1, -1, or 0 for a tie, without asking the device.
  private static Var sign(Var x) {
    return x.mul(x.abs().affine(1, 1e-12).log().scale(-1).exp());
  }

  private Var fake(Nets nets, Batch real, Noise noise) {
    return nets.left(GENERATED)
        .orElseGet(() -> generate(nets, real, real.labels(), noise).detach());
  }

  private Var generate(Nets nets, Batch real, int[] labels, Noise noise) {
    return new Generator(settings.levels(), true)
        .images(nets, labels, nets.images(real, settings.batch), noise);
  }

  private List<Var> logits(Nets nets, Var noised, float[] sigma, int[] labels) {
    return nets.discriminate(HEADS, FeatureGan.single(network), TEACHER, noised, sigma, labels);
  }

  private float[] little(Nets nets, Noise noise) {
    return bins(nets, noise, 0, settings.split ? settings.threshold : MOST);
  }

  private float[] bins(Nets nets, Noise noise, double low, double high) {
    return noise.bins(KarrasSigmas.EDM, nets.preconditioning(), settings.batch, BINS, low, high);
  }
}
