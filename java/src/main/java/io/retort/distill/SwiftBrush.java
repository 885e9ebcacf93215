package io.retort.distill;

import io.retort.data.Batch;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey.Purpose;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;

/// SwiftBrush: variational score distillation into a one-step student, without images; with
/// guidance of a random scale, SNOOPI's PG-SB.
///
/// Student phase: `g = sigma_t^2 (e_teacher - e_critic)` in variance preserving terms, that is
/// `sigma / (1 + sigma^2) (D_critic - D_teacher)`, both guided by the same scale towards the class;
/// `mean(g^2) / 2` with g held constant. Then the critic's denoising loss, its classes dropped now
/// and then so that it can be guided. The critic is a network of its own, or the teacher's with
/// low-rank adapters. Sources: Nguyen & Tran 2023 (arXiv 2312.05239), algorithm 1; PG-SB: Nguyen et
/// al. 2024 (arXiv 2412.02687), section 3.1.
public record SwiftBrush(DiffusionNet network, Settings settings, double sigmaData)
    implements Method {

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "swiftbrush",
          Goal.STUDENT,
          "one-step student: variational score distillation with guidance, fixed or random (PG-SB)",
          "Nguyen & Tran 2023, arXiv 2312.05239; Nguyen et al. 2024, arXiv 2412.02687",
          List.of("fashion-mnist-swiftbrush", "fashion-mnist-swiftbrush-lora"),
          "recipes/evidence/METHODS.md",
          Settings.DEFAULT,
          (settings, inputs) -> new SwiftBrush(inputs.teacher(), settings, inputs.sigmaData()),
          SwiftBrush::ablations);

  /// The method's numbers.
  ///
  /// @param teacher `builtin`, `train`, a run directory or a model file
  /// @param batch generated images a step
  /// @param sigmaMax noise level the student starts from
  /// @param guidance smallest scale, 1 for none; other scales need a teacher trained with
  ///   `edm.label_dropout`
  /// @param guidanceHigh largest scale, drawn uniformly for every step (PG-SB); the smallest one
  ///   for a fixed scale
  /// @param labelDropout how often the critic is not told the class
  /// @param criticScore whether the student is led away from its own score; else x stands in the
  ///   critic's place, and there is none: score distillation (SDS), which seeks a mode
  /// @param lora the critic as adapters of the teacher, rank 0 for a whole network
  /// @param studentLora the student as adapters of the teacher, likewise; its model has plain
  ///   weights
  public record Settings(
      String teacher,
      int batch,
      double sigmaMax,
      double guidance,
      double guidanceHigh,
      double labelDropout,
      boolean criticScore,
      LoraSpec lora,
      LoraSpec studentLora,
      AdamSpec student,
      AdamSpec critic)
      implements Distillation {
    public static final Settings DEFAULT =
        new Settings(
            "builtin",
            32,
            80,
            1,
            1,
            0.1,
            true,
            LoraSpec.OFF,
            LoraSpec.OFF,
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

  /// @throws IllegalArgumentException if the network has nothing that adapters were asked for, or
  ///   is to be guided and has no null class
  public SwiftBrush {
    ScoreMatching.requireNullClass(network, settings.guides(), settings.labelDropout);
    settings.lora.of(CRITIC, network, settings.critic, false);
    settings.studentLora.of(STUDENT, network, settings.student, true);
  }

  private static SequencedMap<String, String> ablations(Settings settings) {
    SequencedMap<String, String> controls = new LinkedHashMap<>();
    if (settings.guidanceHigh > settings.guidance) {
      controls.put("student_of_one_scale", "guidance=" + settings.guidanceHigh);
    }
    if (settings.lora.on()) {
      controls.put("student_with_full_critic", "lora.rank=0");
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
    return settings.batch;
  }

  @Override
  public List<Role> roles() {
    Role teacher = Role.frozen(TEACHER, network);
    Role student = settings.studentLora.of(STUDENT, network, settings.student, true);
    return settings.criticScore
        ? List.of(teacher, student, settings.lora.of(CRITIC, network, settings.critic, false))
        : List.of(teacher, student);
  }

  @Override
  public List<Phase> phases() {
    Phase student = new Phase(STUDENT, 1, Set.of(STUDENT), this::student);
    return settings.criticScore
        ? List.of(student, new Phase(CRITIC, 1, Set.of(CRITIC), this::critic))
        : List.of(student);
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    int[] labels = real.labels();
    Var x = generate(nets, real, noise);
    float[] sigma = ScoreMatching.middleBins(nets, settings.batch, noise);
    double scale =
        settings.guidance
            + (settings.guidanceHigh - settings.guidance)
                * Philox.uniform(noise.key(Purpose.TIME), 0);
    Var noised = noise.add(x.detach(), sigma);
    Var byTeacher = ScoreMatching.guided(nets, TEACHER, noised, sigma, labels, scale);
    Var byCritic =
        settings.criticScore
            ? ScoreMatching.guided(nets, CRITIC, noised, sigma, labels, scale)
            : x.detach();
    return WeightedSum.single(
        "score_difference", ScoreMatching.variational(x, byTeacher, byCritic, sigma));
  }

  private Terms critic(Nets nets, Batch real, Noise noise) {
    Var fake = generate(nets, real, noise).detach();
    int[] labels = noise.dropped(real.labels(), settings.labelDropout);
    return ScoreMatching.critic(nets, sigmaData, fake, labels, noise);
  }

  private Var generate(Nets nets, Batch real, Noise noise) {
    return Generator.oneStep(settings.sigmaMax)
        .images(nets, real.labels(), nets.images(real, settings.batch), noise);
  }
}
