package io.retort.distill;

import io.retort.data.Batch;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.op.EdmLoss;
import io.retort.op.ScoreDifference;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;

/// DMD2 with the Embedding Loss: a student of one or a few steps, frozen teacher, critic (fake
/// score) with a GAN head, random networks.
///
/// Student phase, every `criticSteps` steps: images x of the student, minimise `dm * score
/// difference + gan * softplus(-logit) + embedding * MMD`. Critic phase, every step: denoising loss
/// on student images `+ criticGan * GAN loss`, on the images of the student phase where one has
/// just run. Each term is switched off by weight 0. Sources: DMD2, Yin et al. 2024 (arXiv
/// 2405.14867), sections 4.2 to 4.5; Embedding Loss, Ying et al. 2026 (arXiv 2604.22379).
public record Dmd2(DiffusionNet network, Settings settings, double sigmaData) implements Method {
  public static final String HEAD = "head";

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "dmd2",
          Goal.STUDENT,
          "one- or few-step student: score difference + GAN + Embedding Loss",
          "Yin et al. 2024, arXiv 2405.14867; Ying et al. 2026, arXiv 2604.22379",
          List.of("fashion-mnist-dmd2-el", "fashion-mnist-dmd2-two-step"),
          "recipes/evidence/",
          Settings.DEFAULT,
          (settings, inputs) -> new Dmd2(inputs.teacher(), settings, inputs.sigmaData()),
          Dmd2::ablations);

  private static final String GENERATED = "generated";
  private static final ScoreDifference DIFFERENCE =
      new ScoreDifference(ScoreDifference.Form.DMD, 1e-6);

  /// The method's numbers.
  ///
  /// @param teacher `builtin`, `train`, a run directory or a model file
  /// @param batch generated images a step
  /// @param realBatch real images a step; the Embedding Loss compares with all of them
  /// @param criticSteps critic updates per student update (two-time-scale rule)
  /// @param sigmaMax noise level the student starts from
  /// @param steps of the student; `simulated` matters from 2 on
  /// @param simulated whether later steps are trained on the student's own images (true) or on
  ///   noised real ones
  /// @param distributionMatching weight of the score difference, 0 switches it off
  /// @param gan weight of the student's GAN loss, 0 switches the discriminator off
  /// @param criticGan weight of the discriminator's loss beside the denoising loss
  public record Settings(
      String teacher,
      int batch,
      int realBatch,
      int criticSteps,
      double sigmaMax,
      int steps,
      boolean simulated,
      double distributionMatching,
      double gan,
      double criticGan,
      EmbeddingTerm embedding,
      AdamSpec student,
      AdamSpec critic)
      implements Distillation {
    public static final Settings DEFAULT =
        new Settings(
            "builtin",
            32,
            64,
            2,
            80,
            1,
            true,
            1,
            0,
            1e-2,
            EmbeddingTerm.DEFAULT,
            new AdamSpec(3e-4, 0, 0.99, 1e-8, 0, 10, 20, 420),
            new AdamSpec(5e-4, 0, 0.99, 1e-8, 0, 10, 20, 420));

    public Settings {
      Checks.teacher(teacher);
      Checks.batches(batch, realBatch);
      Checks.require(criticSteps >= 1, "critic_steps must be at least 1, got " + criticSteps);
      Checks.levels(sigmaMax, steps);
      Checks.require(
          distributionMatching >= 0 && gan >= 0 && criticGan >= 0,
          "distribution_matching, gan and critic_gan must be at least 0");
      Checks.require(
          distributionMatching > 0 || gan > 0 || embedding.on(),
          "one of distribution_matching, gan and embedding.weight must be above 0");
    }

    @Override
    public List<Double> levels() {
      return Generator.levels(sigmaMax, steps);
    }

    boolean matches() {
      return distributionMatching > 0;
    }

    boolean adversarial() {
      return gan > 0;
    }

    /// Whether a critic has to be trained at all.
    boolean criticised() {
      return matches() || adversarial();
    }
  }

  /// @throws IllegalArgumentException if a discriminator is wanted and the network has no
  ///   bottleneck for it
  public Dmd2 {
    if (settings.adversarial()) {
      Adversarial.requireBottleneck(network);
    }
  }

  private static SequencedMap<String, String> ablations(Settings settings) {
    SequencedMap<String, String> controls = new LinkedHashMap<>();
    boolean embeds = settings.embedding.on();
    if (settings.steps > 1 && settings.simulated) {
      controls.put("student_without_simulation", "simulated=false");
    }
    if (embeds && settings.criticised()) {
      controls.put("student_without_el", "embedding.weight=0");
    }
    if (settings.adversarial() && (settings.matches() || embeds)) {
      controls.put("student_without_gan", "gan=0");
    }
    if (settings.matches() && (settings.adversarial() || embeds)) {
      controls.put("student_without_dm", "distribution_matching=0");
    }
    return controls;
  }

  @Override
  public String name() {
    return KIND.name();
  }

  @Override
  public int batch() {
    return settings.realBatch;
  }

  @Override
  public List<Role> roles() {
    List<Role> roles = new ArrayList<>();
    roles.add(Role.frozen(TEACHER, network));
    roles.add(Role.copied(STUDENT, network, settings.student, true));
    if (settings.criticised()) {
      roles.add(Role.copied(CRITIC, network, settings.critic, false));
    }
    if (settings.adversarial()) {
      roles.add(Role.drawn(HEAD, Adversarial.head(network), settings.critic, false));
    }
    return roles;
  }

  @Override
  public List<Phase> phases() {
    List<Phase> phases = new ArrayList<>();
    phases.add(new Phase(STUDENT, settings.criticSteps, Set.of(STUDENT), this::student));
    if (settings.criticised()) {
      Set<String> trains = settings.adversarial() ? Set.of(CRITIC, HEAD) : Set.of(CRITIC);
      phases.add(new Phase(CRITIC, 1, trains, this::critic));
    }
    return phases;
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    int[] labels = real.labels(settings.batch);
    Var x = generate(nets, real, noise);
    nets.leave(GENERATED, x);
    WeightedSum sum = new WeightedSum(nets.tape());
    if (settings.matches()) {
      float[] sigma = ScoreMatching.middleBins(nets, settings.batch, noise);
      sum.add(
          "distribution_matching",
          settings.distributionMatching,
          ScoreMatching.difference(DIFFERENCE, nets, x, sigma, labels, noise));
    }
    if (settings.adversarial()) {
      sum.add("gan", settings.gan, Adversarial.looksReal(logits(nets, x, labels, noise)));
    }
    settings.embedding.addTo(sum, nets, x, real, noise);
    return sum.terms();
  }

  private Terms critic(Nets nets, Batch real, Noise noise) {
    int[] labels = real.labels(settings.batch);
    Var fake = nets.left(GENERATED).orElseGet(() -> generate(nets, real, noise).detach());
    float[] sigma = ScoreMatching.bins(nets, settings.batch, noise);
    EdmLoss loss = new EdmLoss(sigmaData, EdmLoss.Pixels.MEAN);
    WeightedSum sum = new WeightedSum(nets.tape());
    sum.add("denoising", 1, ScoreMatching.denoising(loss, nets, fake, sigma, labels, noise));
    if (settings.adversarial()) {
      Var fakeLogits = logits(nets, fake, labels, noise);
      Var realLogits = logits(nets, nets.images(real, settings.batch), labels, noise);
      sum.add(
          "discriminator", settings.criticGan, Adversarial.discriminator(fakeLogits, realLogits));
    }
    return sum.terms();
  }

  private Var generate(Nets nets, Batch real, Noise noise) {
    return new Generator(settings.levels(), settings.simulated)
        .images(nets, real.labels(settings.batch), nets.images(real, settings.batch), noise);
  }

  private Var logits(Nets nets, Var x, int[] labels, Noise noise) {
    float[] sigma = ScoreMatching.bins(nets, settings.batch, noise);
    return nets.discriminate(HEAD, CRITIC, noise.add(x, sigma), sigma, labels);
  }

  /// The Embedding Loss's weight that makes its gradient `embedding.weight` times as long as the
  /// score term's natural one: `(x - D_teacher) / mean |x - D_teacher|` per element, both taken at
  /// the images of the untrained student.
  ///
  /// The score difference itself cannot serve: before the first step the critic is the teacher and
  /// it is zero. This measure needs neither critic nor discriminator, so every ablation gets the
  /// same weight. Source: ours.
  @Override
  public Map<String, Double> calibrate(Nets nets, Batch real, Noise noise) {
    Var x = generate(nets, real, noise).detach();
    return settings.embedding.calibrate(
        nets,
        x,
        real,
        noise,
        (on, images) ->
            ScoreMatching.realScore(
                DIFFERENCE,
                on,
                images,
                ScoreMatching.middleBins(nets, settings.batch, noise),
                real.labels(settings.batch),
                noise));
  }
}
