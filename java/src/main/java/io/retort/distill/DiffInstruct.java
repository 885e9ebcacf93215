package io.retort.distill;

import io.retort.data.Batch;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.op.EdmLoss;
import io.retort.op.ScoreDifference;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;

/// Diff-Instruct: the critic learns the student's images, then the student follows the difference
/// of the scores.
///
/// Critic phase: EDM's loss summed over pixels. Student phase: `sum (D_critic - D_teacher) x / N`
/// at log-normal levels, the difference held constant; no normaliser, no discriminator, no pairs.
/// One update of each a step; data free, but for the labels and the Embedding Loss. Source: Luo et
/// al. 2023 (arXiv 2305.18455), algorithm 1; Embedding Loss, Ying et al. 2026 (arXiv 2604.22379).
public record DiffInstruct(DiffusionNet network, Settings settings, double sigmaData)
    implements Method {

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "diff_instruct",
          Goal.STUDENT,
          "one-step student: integral KL divergence, plain score difference",
          "Luo et al. 2023, arXiv 2305.18455",
          List.of("fashion-mnist-diff-instruct"),
          "recipes/evidence/METHODS.md",
          Settings.DEFAULT,
          (settings, inputs) -> new DiffInstruct(inputs.teacher(), settings, inputs.sigmaData()),
          DiffInstruct::ablations);

  private static final ScoreDifference DIFFERENCE = new ScoreDifference(ScoreDifference.Form.DI, 0);

  /// The method's numbers.
  ///
  /// @param teacher `builtin`, `train`, a run directory or a model file
  /// @param batch generated images a step
  /// @param realBatch real images a step; only the Embedding Loss looks at them
  /// @param sigmaMax noise level the student starts from, the paper's init_sigma of 1
  /// @param steps of the student
  /// @param meanLog mean of ln sigma, of both phases
  /// @param stdLog standard deviation of ln sigma
  /// @param criticScore whether the student is led away from its own score; else x stands in the
  ///   critic's place, and there is none: score distillation, which seeks a mode
  public record Settings(
      String teacher,
      int batch,
      int realBatch,
      double sigmaMax,
      int steps,
      double meanLog,
      double stdLog,
      boolean criticScore,
      EmbeddingTerm embedding,
      AdamSpec student,
      AdamSpec critic)
      implements Distillation {
    public static final Settings DEFAULT =
        new Settings(
            "builtin",
            32,
            64,
            1,
            1,
            -1.2,
            1.2,
            true,
            EmbeddingTerm.OFF,
            new AdamSpec(1e-4, 0, 0.999, 1e-8, 0, 0, 20, 400),
            new AdamSpec(3e-4, 0, 0.999, 1e-8, 0, 0, 20, 400));

    public Settings {
      Checks.teacher(teacher);
      Checks.batches(batch, realBatch);
      Checks.levels(sigmaMax, steps);
      Checks.require(stdLog > 0, "std_log must be above 0, got " + stdLog);
    }

    @Override
    public List<Double> levels() {
      return Generator.levels(sigmaMax, steps);
    }
  }

  private static SequencedMap<String, String> ablations(Settings settings) {
    SequencedMap<String, String> controls = new LinkedHashMap<>();
    if (settings.embedding.on()) {
      controls.put("student_without_el", "embedding.weight=0");
    }
    if (settings.criticScore) {
      controls.put("student_without_critic_score", "critic_score=false");
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
    List<Role> roles = ScoreMatching.roles(network, settings.student, settings.critic);
    return settings.criticScore ? roles : List.of(roles.get(0), roles.get(1));
  }

  @Override
  public List<Phase> phases() {
    Phase student = new Phase(STUDENT, 1, Set.of(STUDENT), this::student);
    return settings.criticScore
        ? List.of(new Phase(CRITIC, 1, Set.of(CRITIC), this::critic), student)
        : List.of(student);
  }

  private Terms critic(Nets nets, Batch real, Noise noise) {
    Var fake = generate(nets, real, noise).detach();
    EdmLoss loss = new EdmLoss(sigmaData, EdmLoss.Pixels.SUM);
    return WeightedSum.single(
        "denoising",
        ScoreMatching.denoising(
            loss, nets, fake, levels(noise), real.labels(settings.batch), noise));
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    Var x = generate(nets, real, noise);
    float[] sigma = levels(noise);
    int[] labels = real.labels(settings.batch);
    WeightedSum sum = new WeightedSum(nets.tape());
    sum.add(
        "score_difference",
        1,
        settings.criticScore
            ? ScoreMatching.difference(DIFFERENCE, nets, x, sigma, labels, noise)
            : ScoreMatching.realScore(DIFFERENCE, nets, x, sigma, labels, noise));
    settings.embedding.addTo(sum, nets, x, real, noise);
    return sum.terms();
  }

  private Var generate(Nets nets, Batch real, Noise noise) {
    return new Generator(settings.levels(), true)
        .images(nets, real.labels(settings.batch), nets.images(real, settings.batch), noise);
  }

  private float[] levels(Noise noise) {
    return noise.logNormal(settings.batch, settings.meanLog, settings.stdLog);
  }

  /// The Embedding Loss's weight against the natural length of the score term, `x - D_teacher`.
  /// Source: ours.
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
                DIFFERENCE, on, images, levels(noise), real.labels(settings.batch), noise));
  }
}
