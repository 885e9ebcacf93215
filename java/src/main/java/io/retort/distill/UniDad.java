package io.retort.distill;

import io.retort.data.Batch;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.op.EdmLoss;
import io.retort.op.ScoreDifference;
import io.retort.tensor.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;

/// Uni-DAD: distils a teacher and adapts it to a few images of another domain at once.
///
/// Student phase, on images that it makes in `steps` calls with gradients through all of them: the
/// score differences to the frozen source teacher and to a target teacher, each with its own
/// normaliser, and a GAN with heads on the critic's features. At the same pace the target teacher,
/// which begins as the source, learns to denoise the few images. Critic phase: denoising loss on
/// the student's images, and the discriminator's. Source: Uni-DAD, 2025 (arXiv 2511.18281).
public record UniDad(DiffusionNet network, Settings settings, double sigmaData) implements Method {
  public static final String TARGET = "target";
  public static final String HEADS = "heads";

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "uni_dad",
          Goal.STUDENT,
          "few-step student of a new domain from a few images: two teachers and a GAN",
          "2025, arXiv 2511.18281",
          List.of("fashion-mnist-uni-dad"),
          "recipes/evidence/METHODS.md",
          Settings.DEFAULT,
          (settings, inputs) -> new UniDad(inputs.teacher(), settings, inputs.sigmaData()),
          UniDad::ablations);

  private static final String GENERATED = "generated";
  private static final ScoreDifference DIFFERENCE =
      new ScoreDifference(ScoreDifference.Form.DMD, 1e-8);

  /// The method's numbers.
  ///
  /// @param teacher of the source: `builtin`, `train`, a run directory or a model file
  /// @param batch generated and real images a step
  /// @param shots images of the target that are seen, the first of the set; 0 for all
  /// @param criticSteps critic updates per student update
  /// @param sigmaMax noise level the student starts from
  /// @param sigmaLast its last level
  /// @param steps of the student, at geometric levels
  /// @param source weight of the source teacher's score difference, 0 for none
  /// @param target weight of the target teacher's, 0 for none
  /// @param gan weight of the student's GAN loss, 0 for none
  /// @param criticGan weight of the discriminator's loss
  /// @param meanLog mean of ln sigma of the target teacher
  /// @param stdLog its standard deviation
  /// @param heads form, width and learning of the heads
  /// @param targetTeacher how the target teacher learns
  public record Settings(
      String teacher,
      int batch,
      int shots,
      int criticSteps,
      double sigmaMax,
      double sigmaLast,
      int steps,
      double source,
      double target,
      double gan,
      double criticGan,
      double meanLog,
      double stdLog,
      FeatureGan heads,
      AdamSpec student,
      AdamSpec critic,
      AdamSpec targetTeacher)
      implements Distillation {
    public static final Settings DEFAULT =
        new Settings(
            "builtin",
            16,
            10,
            5,
            80,
            0.5,
            3,
            1,
            1,
            15e-3,
            5e-2,
            -1.2,
            1.2,
            new FeatureGan(GanForm.NON_SATURATING, 32, 0, 4, 0.1, FeatureGan.DEFAULT.optimizer()),
            new AdamSpec(2e-4, 0, 0.99, 1e-8, 0, 10, 20, 360),
            new AdamSpec(4e-4, 0, 0.99, 1e-8, 0, 10, 20, 360),
            new AdamSpec(1e-4, 0.9, 0.999, 1e-8, 0, 10, 20, 360));

    public Settings {
      Checks.teacher(teacher);
      Checks.require(batch >= 1, "batch must be at least 1, got " + batch);
      Checks.require(shots >= 0, "shots must be at least 0, got " + shots);
      Checks.require(criticSteps >= 1, "critic_steps must be at least 1, got " + criticSteps);
      Checks.levels(sigmaMax, steps);
      Checks.require(
          sigmaLast > 0 && sigmaLast < sigmaMax,
          "sigma_last must be above 0 and below sigma_max, got " + sigmaLast);
      Checks.require(
          source >= 0 && target >= 0 && gan >= 0 && criticGan >= 0,
          "source, target, gan and critic_gan must be at least 0");
      Checks.require(
          source > 0 || target > 0 || gan > 0, "one of source, target and gan must be above 0");
      Checks.require(stdLog > 0, "std_log must be above 0, got " + stdLog);
    }

    /// `sigmaMax` to `sigmaLast`, each the same part of the one before.
    @Override
    public List<Double> levels() {
      List<Double> levels = new ArrayList<>();
      for (int i = 0; i < steps; i++) {
        double place = steps == 1 ? 0 : i / (steps - 1.0);
        levels.add(sigmaMax * Math.pow(sigmaLast / sigmaMax, place));
      }
      return levels;
    }

    boolean adversarial() {
      return gan > 0;
    }

    boolean adapts() {
      return target > 0;
    }
  }

  /// @throws IllegalArgumentException if a discriminator is wanted and the network has no
  ///   bottleneck
  public UniDad {
    if (settings.adversarial()) {
      FeatureGan.maps(network);
    }
  }

  private static SequencedMap<String, String> ablations(Settings settings) {
    SequencedMap<String, String> controls = new LinkedHashMap<>();
    boolean matches = settings.source > 0;
    if (settings.adapts() && (matches || settings.adversarial())) {
      controls.put("student_without_target_teacher", "target=0");
    }
    if (matches && (settings.adapts() || settings.adversarial())) {
      controls.put("student_without_source_teacher", "source=0");
    }
    if (settings.adversarial() && (matches || settings.adapts())) {
      controls.put("student_without_gan", "gan=0");
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
  public int shots() {
    return settings.shots;
  }

  @Override
  public List<Role> roles() {
    List<Role> roles = new ArrayList<>();
    roles.add(Role.frozen(TEACHER, network));
    roles.add(Role.copied(STUDENT, network, settings.student, true));
    roles.add(Role.copied(CRITIC, network, settings.critic, false));
    if (settings.adapts()) {
      roles.add(Role.copied(TARGET, network, settings.targetTeacher, false));
    }
    if (settings.adversarial()) {
      FeatureGan heads = settings.heads;
      roles.add(Role.drawn(HEADS, heads.heads(network, 1), heads.optimizer(), false));
    }
    return roles;
  }

  @Override
  public List<Phase> phases() {
    int pace = settings.criticSteps;
    List<Phase> phases = new ArrayList<>();
    phases.add(new Phase(STUDENT, pace, Set.of(STUDENT), this::student));
    if (settings.adapts()) {
      phases.add(new Phase(TARGET, pace, Set.of(TARGET), this::target));
    }
    Set<String> trains = settings.adversarial() ? Set.of(CRITIC, HEADS) : Set.of(CRITIC);
    phases.add(new Phase(CRITIC, 1, trains, this::critic));
    return phases;
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    int[] labels = real.labels();
    Var x = unrolled(nets, labels, noise);
    nets.leave(GENERATED, x);
    WeightedSum sum = new WeightedSum(nets.tape());
    if (settings.source > 0 || settings.adapts()) {
      float[] sigma = ScoreMatching.middleBins(nets, settings.batch, noise);
      Var noised = noise.add(x.detach(), sigma);
      Var byCritic = nets.denoise(CRITIC, noised, sigma, labels).detach();
      if (settings.source > 0) {
        Var bySource = nets.denoise(TEACHER, noised, sigma, labels).detach();
        sum.add("source", settings.source, nets.tape().apply(DIFFERENCE, x, bySource, byCritic));
      }
      if (settings.adapts()) {
        Var byTarget = nets.denoise(TARGET, noised, sigma, labels).detach();
        sum.add("target", settings.target, nets.tape().apply(DIFFERENCE, x, byTarget, byCritic));
      }
    }
    if (settings.adversarial()) {
      float[] sigma = ScoreMatching.bins(nets, settings.batch, noise);
      List<Var> fake = logits(nets, noise.add(x, sigma), sigma, labels);
      GanForm form = settings.heads.form();
      List<Var> reals =
          form.paired()
              ? logits(nets, noise.add(nets.images(real, settings.batch), sigma), sigma, labels)
              : List.of();
      sum.add("gan", settings.gan, form.generator(fake, reals));
    }
    return sum.terms();
  }

  /// EDM's loss on the few images.
  private Terms target(Nets nets, Batch real, Noise noise) {
    float[] sigma = noise.logNormal(settings.batch, settings.meanLog, settings.stdLog);
    Var clean = nets.images(real, settings.batch);
    Var denoised = nets.denoise(TARGET, noise.add(clean, sigma), sigma, real.labels());
    Var level = nets.tape().constant(Shape.of(sigma.length), sigma);
    EdmLoss loss = new EdmLoss(sigmaData, EdmLoss.Pixels.MEAN);
    return WeightedSum.single("denoising", nets.tape().apply(loss, denoised, clean, level));
  }

  private Terms critic(Nets nets, Batch real, Noise noise) {
    int[] labels = real.labels();
    Var fake = nets.left(GENERATED).orElseGet(() -> unrolled(nets, labels, noise).detach());
    float[] sigma = ScoreMatching.bins(nets, settings.batch, noise);
    EdmLoss loss = new EdmLoss(sigmaData, EdmLoss.Pixels.MEAN);
    WeightedSum sum = new WeightedSum(nets.tape());
    sum.add("denoising", 1, ScoreMatching.denoising(loss, nets, fake, sigma, labels, noise));
    if (settings.adversarial()) {
      float[] ofFake = ScoreMatching.bins(nets, settings.batch, noise);
      float[] ofReal = ScoreMatching.bins(nets, settings.batch, noise);
      settings.heads.teach(
          sum,
          settings.criticGan,
          logits(nets, noise.add(fake, ofFake), ofFake, labels),
          noise.add(nets.images(real, settings.batch), ofReal),
          noised -> logits(nets, noised, ofReal, labels),
          noise);
    }
    return sum.terms();
  }

  /// Images after all calls, with gradients through each.
  private Var unrolled(Nets nets, int[] labels, Noise noise) {
    Shape shape = nets.images(STUDENT, labels.length);
    List<Double> levels = settings.levels();
    double top = new Generator(levels, true).start(nets.preconditioning());
    Var x = call(nets, noise.normal(nets.tape(), shape, top), top, labels);
    for (double level : levels.subList(1, levels.size())) {
      Var noised = x.add(noise.normal(nets.tape(), shape, level));
      x = call(nets, noised, level, labels);
    }
    return x;
  }

  private static Var call(Nets nets, Var x, double level, int[] labels) {
    float[] sigma = new float[labels.length];
    Arrays.fill(sigma, (float) level);
    return nets.denoise(STUDENT, x, sigma, labels);
  }

  private List<Var> logits(Nets nets, Var noised, float[] sigma, int[] labels) {
    return nets.discriminate(HEADS, FeatureGan.single(network), CRITIC, noised, sigma, labels);
  }
}
