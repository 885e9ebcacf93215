package io.retort.distill;

import io.retort.data.Batch;
import io.retort.diffusion.KarrasSigmas;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Var;
import io.retort.net.ConvDiscriminator;
import io.retort.net.DiffusionNet;
import io.retort.op.ScoreDifference;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;

/// DMDX: adversarial pre-training on the teacher's ODE pairs, then adversarial distribution
/// matching (ADM), where a discriminator tells the critic's step from the teacher's.
///
/// Pre-training: the student denoises `x_0 + sigma z` of a pair, sigma mostly large; heads on the
/// frozen teacher and a discriminator of pixels tell its images from the pair's x_0. Matching: from
/// one noised image x_t of the student, `x_f` is a short Euler step of the critic and `x_r` one of
/// the teacher; heads on the teacher at the level the steps arrive at tell them apart; the
/// student's gradient runs through the critic's input. The critic learns to denoise the student's
/// images. No real image is looked at. Source: Lu et al. 2025 (arXiv 2507.18569).
public record Adm(
    DiffusionNet network, Settings settings, double sigmaData, ConvDiscriminator pixelNet)
    implements Method {
  public static final String HEADS = "heads";
  public static final String PRETRAINING_HEADS = "pretraining_heads";
  public static final String PIXELS = "pixels";

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "adm",
          Goal.STUDENT,
          "one-step student: GAN on ODE pairs, then a GAN between the critic's and teacher's steps"
              + " (DMDX)",
          "Lu et al. 2025, arXiv 2507.18569",
          List.of("fashion-mnist-adm"),
          "recipes/evidence/METHODS.md",
          Settings.DEFAULT,
          (settings, inputs) ->
              new Adm(
                  inputs.teacher(),
                  settings,
                  inputs.sigmaData(),
                  new ConvDiscriminator(
                      inputs.data().channels(),
                      inputs.teacher().classes(),
                      settings.gan.width(),
                      settings.pixelDepth)),
          Adm::ablations);

  private static final String GENERATED = "generated";
  private static final ScoreDifference DIFFERENCE =
      new ScoreDifference(ScoreDifference.Form.DMD, 1e-6);

  /// How student and teacher are compared.
  public enum Matching {
    /// By a discriminator of steps: ADM.
    ADVERSARIAL,
    /// By the score difference: DMD.
    SCORE_DIFFERENCE
  }

  /// The method's numbers.
  ///
  /// @param teacher `builtin`, `train`, a run directory or a model file
  /// @param batch generated images a step, and pairs
  /// @param sigmaMax noise level the student starts from
  /// @param pretraining steps on pairs before the matching, 0 for none
  /// @param pairs samples of the teacher, made once
  /// @param pairSteps Heun steps of each
  /// @param latent weight of the pre-training's heads on the teacher, 0.85
  /// @param pixel weight of its discriminator of pixels, 0.15
  /// @param pixelDepth stages of that discriminator
  /// @param matching what comes after the pre-training
  /// @param strides Euler steps that the curve of noise levels is divided into, 64
  /// @param gan form, width and learning of all discriminators
  public record Settings(
      String teacher,
      int batch,
      double sigmaMax,
      long pretraining,
      int pairs,
      int pairSteps,
      double latent,
      double pixel,
      int pixelDepth,
      Matching matching,
      int strides,
      FeatureGan gan,
      AdamSpec student,
      AdamSpec critic)
      implements Distillation {
    public static final Settings DEFAULT =
        new Settings(
            "builtin",
            32,
            80,
            300,
            2048,
            18,
            0.85,
            0.15,
            3,
            Matching.ADVERSARIAL,
            64,
            FeatureGan.DEFAULT,
            new AdamSpec(2e-5, 0, 0.99, 1e-8, 0, 10, 20, 360),
            new AdamSpec(5e-4, 0, 0.99, 1e-8, 0, 10, 20, 360));

    public Settings {
      Checks.teacher(teacher);
      Checks.require(batch >= 1, "batch must be at least 1, got " + batch);
      Checks.levels(sigmaMax, 1);
      Checks.require(pretraining >= 0, "pretraining must be at least 0, got " + pretraining);
      Checks.pairs(pairs, pairSteps);
      Checks.require(latent > 0 && pixel >= 0, "latent must be above 0 and pixel at least 0");
      Checks.require(
          pixelDepth >= 1 && pixelDepth <= 8, "pixel_depth must be 1 to 8, got " + pixelDepth);
      Checks.require(strides >= 2 && strides <= 1000, "strides must be 2 to 1000, got " + strides);
    }

    @Override
    public List<Double> levels() {
      return List.of(sigmaMax);
    }

    boolean looksAtPixels() {
      return pretraining > 0 && pixel > 0;
    }

    boolean adversarial() {
      return matching == Matching.ADVERSARIAL;
    }
  }

  /// @throws IllegalArgumentException if the network has no bottleneck, or the images are too small
  ///   for the discriminator of pixels
  public Adm {
    FeatureGan.maps(network);
    Checks.require(
        network.resolution() >> (pixelNet.depth() - 1) >= 1,
        "pixel_depth must leave a pixel of images of side " + network.resolution());
  }

  private static SequencedMap<String, String> ablations(Settings settings) {
    SequencedMap<String, String> controls = new LinkedHashMap<>();
    if (settings.adversarial()) {
      controls.put("student_of_score_difference", "matching=score_difference");
    }
    if (settings.pretraining > 0) {
      controls.put("student_without_pretraining", "pretraining=0");
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
  public Optional<Pairs> pairs() {
    return settings.pretraining > 0
        ? Optional.of(new Pairs(settings.pairs, settings.pairSteps, settings.batch))
        : Optional.empty();
  }

  @Override
  public List<Role> roles() {
    AdamSpec learning = settings.gan.optimizer();
    List<Role> roles = new ArrayList<>();
    roles.add(Role.frozen(TEACHER, network));
    roles.add(Role.copied(STUDENT, network, settings.student, true));
    roles.add(Role.copied(CRITIC, network, settings.critic, false));
    if (settings.adversarial()) {
      roles.add(Role.drawn(HEADS, settings.gan.heads(network, 1), learning, false));
    }
    if (settings.pretraining > 0) {
      roles.add(Role.drawn(PRETRAINING_HEADS, settings.gan.heads(network, 1), learning, false));
    }
    if (settings.looksAtPixels()) {
      roles.add(Role.drawn(PIXELS, pixelNet, learning, false));
    }
    return roles;
  }

  @Override
  public List<Phase> phases() {
    long begin = settings.pretraining;
    List<Phase> phases = new ArrayList<>();
    if (begin > 0) {
      Set<String> judges = new LinkedHashSet<>(Set.of(PRETRAINING_HEADS));
      if (settings.looksAtPixels()) {
        judges.add(PIXELS);
      }
      phases.add(new Phase("pretraining", 1, 0, begin, Set.of(STUDENT), this::pretrain));
      phases.add(new Phase("pretraining_judges", 1, 0, begin, judges, this::judge));
    }
    phases.add(new Phase(STUDENT, 1, begin, Set.of(STUDENT), this::student));
    if (settings.adversarial()) {
      phases.add(new Phase(HEADS, 1, begin, Set.of(HEADS), this::heads));
    }
    phases.add(new Phase(CRITIC, 1, begin, Set.of(CRITIC), this::critic));
    return phases;
  }

  /// Two discriminators against the student's image of a noised sample.
  private Terms pretrain(Nets nets, Batch real, Noise noise) {
    Replay replay = Replay.of(nets, real);
    float[] level = mostlyNoise(nets, noise);
    Var start = replay.images().add(ScoreMatching.perSample(replay.latents(), wide(level)));
    Var x = nets.denoise(STUDENT, start, level, replay.labels());
    nets.leave(GENERATED, x);
    GanForm form = settings.gan.form();
    WeightedSum sum = new WeightedSum(nets.tape());
    float[] sigma = ScoreMatching.bins(nets, settings.batch, noise);
    Var noised = noise.add(x, sigma);
    List<Var> real1 =
        form.paired()
            ? latent(nets, noise.add(replay.images(), sigma), sigma, replay.labels())
            : List.of();
    sum.add(
        "latent",
        settings.latent,
        form.generator(latent(nets, noised, sigma, replay.labels()), real1));
    if (settings.looksAtPixels()) {
      List<Var> real2 = form.paired() ? pixels(nets, replay.images(), replay.labels()) : List.of();
      sum.add("pixel", settings.pixel, form.generator(pixels(nets, x, replay.labels()), real2));
    }
    return sum.terms();
  }

  private Terms judge(Nets nets, Batch real, Noise noise) {
    Replay replay = Replay.of(nets, real);
    Var fake = nets.left(GENERATED).orElseThrow();
    WeightedSum sum = new WeightedSum(nets.tape());
    float[] ofFake = ScoreMatching.bins(nets, settings.batch, noise);
    float[] ofReal = ScoreMatching.bins(nets, settings.batch, noise);
    settings.gan.teach(
        sum,
        1,
        latent(nets, noise.add(fake, ofFake), ofFake, replay.labels()),
        noise.add(replay.images(), ofReal),
        noised -> latent(nets, noised, ofReal, replay.labels()),
        noise);
    if (settings.looksAtPixels()) {
      List<Var> fakes = pixels(nets, fake, replay.labels());
      List<Var> reals = pixels(nets, replay.images(), replay.labels());
      sum.add("pixel_discriminator", 1, settings.gan.form().discriminator(fakes, reals));
    }
    return sum.terms();
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    int[] labels = real.labels();
    Var x = generate(nets, real, noise);
    nets.leave(GENERATED, x);
    if (!settings.adversarial()) {
      float[] sigma = ScoreMatching.middleBins(nets, settings.batch, noise);
      return WeightedSum.single(
          "score_difference", ScoreMatching.difference(DIFFERENCE, nets, x, sigma, labels, noise));
    }
    Step step = step(nets, noise);
    Var noised = noise.add(x, step.from);
    GanForm form = settings.gan.form();
    List<Var> byTeacher =
        form.paired()
            ? heads(nets, step.take(nets, TEACHER, noised.detach(), labels).detach(), step, labels)
            : List.of();
    List<Var> byCritic = heads(nets, step.take(nets, CRITIC, noised, labels), step, labels);
    return WeightedSum.single("gan", form.generator(byCritic, byTeacher));
  }

  /// The heads learn to tell the critic's steps from the teacher's, both from the same images.
  private Terms heads(Nets nets, Batch real, Noise noise) {
    int[] labels = real.labels();
    Var fake = nets.left(GENERATED).orElseGet(() -> generate(nets, real, noise).detach());
    Step step = step(nets, noise);
    Var noised = noise.add(fake, step.from);
    Var byCritic = step.take(nets, CRITIC, noised, labels).detach();
    Var byTeacher = step.take(nets, TEACHER, noised, labels).detach();
    WeightedSum sum = new WeightedSum(nets.tape());
    settings.gan.teach(
        sum,
        1,
        heads(nets, byCritic, step, labels),
        byTeacher,
        arrived -> heads(nets, arrived, step, labels),
        noise);
    return sum.terms();
  }

  private Terms critic(Nets nets, Batch real, Noise noise) {
    Var fake = nets.left(GENERATED).orElseGet(() -> generate(nets, real, noise).detach());
    return ScoreMatching.critic(nets, sigmaData, fake, real.labels(), noise);
  }

  private Var generate(Nets nets, Batch real, Noise noise) {
    return Generator.oneStep(settings.sigmaMax)
        .images(nets, real.labels(), nets.images(real, settings.batch), noise);
  }

  private List<Var> latent(Nets nets, Var noised, float[] sigma, int[] labels) {
    return nets.discriminate(
        PRETRAINING_HEADS, FeatureGan.single(network), TEACHER, noised, sigma, labels);
  }

  private List<Var> heads(Nets nets, Var arrived, Step step, int[] labels) {
    return nets.discriminate(HEADS, FeatureGan.single(network), TEACHER, arrived, step.to, labels);
  }

  private List<Var> pixels(Nets nets, Var x, int[] labels) {
    return pixelNet
        .apply(
            nets.tape(),
            nets.parameters(PIXELS),
            nets.input(x),
            nets.oneHot(labels, pixelNet.classes()))
        .stream()
        .map(nets::output)
        .toList();
  }

  /// A short Euler step of the probability-flow ODE between two levels per sample.
  record Step(float[] from, float[] to) {

    /// `x + (to - from) (x - D(x)) / from`.
    Var take(Nets nets, String role, Var x, int[] labels) {
      Var denoised = nets.denoise(role, x, from, labels);
      double[] kept = new double[from.length];
      double[] won = new double[from.length];
      for (int i = 0; i < kept.length; i++) {
        kept[i] = to[i] / (double) from[i];
        won[i] = 1 - kept[i];
      }
      return ScoreMatching.perSample(x, kept).add(ScoreMatching.perSample(denoised, won));
    }
  }

  /// A stretch of EDM's curve of length `1 / strides`, drawn per sample.
  Step step(Nets nets, Noise noise) {
    PhiloxKey key = noise.key(Purpose.TIME);
    KarrasSigmas sigmas = KarrasSigmas.EDM.within(nets.preconditioning());
    double stride = 1.0 / settings.strides;
    float[] from = new float[settings.batch];
    float[] to = new float[settings.batch];
    for (int i = 0; i < from.length; i++) {
      double place = (1 - stride) * Philox.uniform(key, i);
      from[i] = (float) nets.preconditioning().round(sigmas.at(place));
      to[i] = (float) nets.preconditioning().round(sigmas.at(place + stride));
    }
    return new Step(from, to);
  }

  /// Levels at the cube of a uniform place, so that most of them are large.
  private float[] mostlyNoise(Nets nets, Noise noise) {
    PhiloxKey key = noise.key(Purpose.TIME);
    KarrasSigmas edm = KarrasSigmas.EDM;
    KarrasSigmas sigmas =
        new KarrasSigmas(edm.min(), settings.sigmaMax, edm.rho()).within(nets.preconditioning());
    float[] levels = new float[settings.batch];
    for (int i = 0; i < levels.length; i++) {
      double place = Math.pow(Philox.uniform(key, i), 3);
      levels[i] = (float) nets.preconditioning().round(sigmas.at(place));
    }
    return levels;
  }

  private static double[] wide(float[] numbers) {
    double[] wide = new double[numbers.length];
    for (int i = 0; i < wide.length; i++) {
      wide[i] = numbers[i];
    }
    return wide;
  }
}
