package io.retort.distill;

import io.retort.data.Batch;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.op.ScoreDifference;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;

/// DMD: the score difference, and a regression on what the teacher makes of the same noise.
///
/// Student phase: `dm * score difference + regression * d(D_student(80 z; 80), ODE(z))`. Critic
/// phase on the same images: denoising loss. One update of each a step. Source: Yin et al. 2023
/// (arXiv 2311.18828), algorithm 1; Embedding Loss, Ying et al. 2026 (arXiv 2604.22379).
public record Dmd(DiffusionNet network, Settings settings, double sigmaData) implements Method {

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "dmd",
          Goal.STUDENT,
          "one-step student: score difference + regression on the teacher's samples",
          "Yin et al. 2023, arXiv 2311.18828",
          List.of("fashion-mnist-dmd"),
          "recipes/evidence/METHODS.md",
          Settings.DEFAULT,
          (settings, inputs) -> new Dmd(inputs.teacher(), settings, inputs.sigmaData()),
          Dmd::ablations);

  private static final String GENERATED = "generated";
  private static final ScoreDifference DIFFERENCE =
      new ScoreDifference(ScoreDifference.Form.DMD, 1e-6);

  /// The method's numbers.
  ///
  /// @param teacher `builtin`, `train`, a run directory or a model file
  /// @param batch generated images a step, and pairs of the regression
  /// @param realBatch real images a step; only the Embedding Loss looks at them
  /// @param sigmaMax noise level the student starts from
  /// @param distributionMatching weight of the score difference, 0 switches it off
  /// @param regression weight of the regression, 0 switches it off
  /// @param pairs samples of the teacher to regress on
  /// @param pairSteps Heun steps of each
  /// @param distance of the regression
  /// @param huber factor of the pseudo-Huber distance
  public record Settings(
      String teacher,
      int batch,
      int realBatch,
      double sigmaMax,
      double distributionMatching,
      double regression,
      int pairs,
      int pairSteps,
      Distance distance,
      double huber,
      EmbeddingTerm embedding,
      AdamSpec student,
      AdamSpec critic)
      implements Distillation {
    public static final Settings DEFAULT =
        new Settings(
            "builtin",
            32,
            64,
            80,
            1,
            0.25,
            2048,
            18,
            Distance.L2,
            0.00054,
            EmbeddingTerm.OFF,
            new AdamSpec(3e-4, 0, 0.999, 1e-8, 0.01, 10, 20, 420),
            new AdamSpec(5e-4, 0, 0.999, 1e-8, 0.01, 10, 20, 420));

    public Settings {
      Checks.teacher(teacher);
      Checks.batches(batch, realBatch);
      Checks.levels(sigmaMax, 1);
      Checks.require(
          distributionMatching >= 0 && regression >= 0,
          "distribution_matching and regression must be at least 0");
      Checks.require(
          distributionMatching > 0 || regression > 0 || embedding.on(),
          "one of distribution_matching, regression and embedding.weight must be above 0");
      Checks.pairs(pairs, pairSteps);
      Checks.require(huber >= 0, "huber must be at least 0, got " + huber);
    }

    @Override
    public List<Double> levels() {
      return List.of(sigmaMax);
    }

    boolean matches() {
      return distributionMatching > 0;
    }

    boolean regresses() {
      return regression > 0;
    }
  }

  private static SequencedMap<String, String> ablations(Settings settings) {
    SequencedMap<String, String> controls = new LinkedHashMap<>();
    boolean embeds = settings.embedding.on();
    if (settings.regresses() && (settings.matches() || embeds)) {
      controls.put("student_without_regression", "regression=0");
    }
    if (settings.matches() && (settings.regresses() || embeds)) {
      controls.put("student_without_dm", "distribution_matching=0");
    }
    if (embeds && (settings.matches() || settings.regresses())) {
      controls.put("student_without_el", "embedding.weight=0");
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
  public Optional<Pairs> pairs() {
    return settings.regresses()
        ? Optional.of(new Pairs(settings.pairs, settings.pairSteps, settings.batch))
        : Optional.empty();
  }

  @Override
  public List<Role> roles() {
    Role teacher = Role.frozen(TEACHER, network);
    Role student = Role.copied(STUDENT, network, settings.student, true);
    return settings.matches()
        ? List.of(teacher, student, Role.copied(CRITIC, network, settings.critic, false))
        : List.of(teacher, student);
  }

  @Override
  public List<Phase> phases() {
    Phase student = new Phase(STUDENT, 1, Set.of(STUDENT), this::student);
    return settings.matches()
        ? List.of(student, new Phase(CRITIC, 1, Set.of(CRITIC), this::critic))
        : List.of(student);
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    int[] labels = real.labels(settings.batch);
    WeightedSum sum = new WeightedSum(nets.tape());
    if (settings.matches() || settings.embedding.on()) {
      Var x = generate(nets, real, noise);
      nets.leave(GENERATED, x);
      if (settings.matches()) {
        float[] sigma = ScoreMatching.middleBins(nets, settings.batch, noise);
        sum.add(
            "distribution_matching",
            settings.distributionMatching,
            ScoreMatching.difference(DIFFERENCE, nets, x, sigma, labels, noise));
      }
      settings.embedding.addTo(sum, nets, x, real, noise);
    }
    if (settings.regresses()) {
      sum.add("regression", settings.regression, regression(nets, real));
    }
    return sum.terms();
  }

  private Var regression(Nets nets, Batch real) {
    Replay replay = Replay.of(nets, real);
    Var made = replay.student(nets, settings.sigmaMax);
    return settings.distance.perSample(made, replay.images(), settings.huber).mean();
  }

  private Terms critic(Nets nets, Batch real, Noise noise) {
    Var fake = nets.left(GENERATED).orElseGet(() -> generate(nets, real, noise).detach());
    return ScoreMatching.critic(nets, sigmaData, fake, real.labels(settings.batch), noise);
  }

  private Var generate(Nets nets, Batch real, Noise noise) {
    return Generator.oneStep(settings.sigmaMax)
        .images(nets, real.labels(settings.batch), nets.images(real, settings.batch), noise);
  }

  /// The Embedding Loss's weight against the natural length of the score term. Source: ours.
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
