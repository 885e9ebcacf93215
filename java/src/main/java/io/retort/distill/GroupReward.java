package io.retort.distill;

import io.retort.data.Batch;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;

/// GNDM: distribution matching as a reward that is normalised over groups of samples of one class.
///
/// Student phase, for groups of K images of one class under one noise level: `d_i = D_critic -
/// D_teacher`, `g_i = d_i / w` with `w = mean_i mean |x_i - D_teacher,i|` of the group in place of
/// each sample's own; `mean(g^2) / 2` with g held constant. Critic phase on the same images:
/// denoising loss. Source: R_dm and GNDM, 2026 (arXiv 2603.28460), of which the formulas were not
/// to be had: this is our reading of its abstract, and no claim about the paper.
public record GroupReward(DiffusionNet network, Settings settings, double sigmaData)
    implements Method {

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "gndm",
          Goal.STUDENT,
          "one-step student: score difference normalised over groups of one class (our reading)",
          "2026, arXiv 2603.28460",
          List.of("fashion-mnist-gndm"),
          "none yet",
          Settings.DEFAULT,
          (settings, inputs) -> new GroupReward(inputs.teacher(), settings, inputs.sigmaData()),
          GroupReward::ablations);

  private static final String GENERATED = "generated";
  private static final double FLOOR = 1e-6;

  /// The method's numbers.
  ///
  /// @param teacher `builtin`, `train`, a run directory or a model file
  /// @param batch generated images a step, a multiple of `group`
  /// @param group samples of one class that are normalised together, 1 for DMD's own normaliser
  /// @param criticSteps critic updates per student update
  /// @param sigmaMax noise level the student starts from
  public record Settings(
      String teacher,
      int batch,
      int group,
      int criticSteps,
      double sigmaMax,
      AdamSpec student,
      AdamSpec critic)
      implements Distillation {
    public static final Settings DEFAULT =
        new Settings(
            "builtin",
            32,
            8,
            2,
            80,
            new AdamSpec(3e-4, 0, 0.99, 1e-8, 0, 10, 20, 360),
            new AdamSpec(5e-4, 0, 0.99, 1e-8, 0, 10, 20, 360));

    public Settings {
      Checks.teacher(teacher);
      Checks.require(
          group >= 1 && batch >= group && batch % group == 0,
          "batch must be a multiple of group, got %d and %d".formatted(batch, group));
      Checks.require(criticSteps >= 1, "critic_steps must be at least 1, got " + criticSteps);
      Checks.levels(sigmaMax, 1);
    }

    @Override
    public List<Double> levels() {
      return List.of(sigmaMax);
    }
  }

  private static SequencedMap<String, String> ablations(Settings settings) {
    SequencedMap<String, String> controls = new LinkedHashMap<>();
    if (settings.group > 1) {
      controls.put("student_without_groups", "group=1");
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
    return ScoreMatching.roles(network, settings.student, settings.critic);
  }

  @Override
  public List<Phase> phases() {
    return List.of(
        new Phase(STUDENT, settings.criticSteps, Set.of(STUDENT), this::student),
        new Phase(CRITIC, 1, Set.of(CRITIC), this::critic));
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    int[] labels = labels(real);
    Var x = generate(nets, real, noise);
    nets.leave(GENERATED, x);
    float[] sigma = levels(nets, noise);
    Var noised = noise.add(x.detach(), sigma);
    Var byTeacher = nets.denoise(TEACHER, noised, sigma, labels).detach();
    Var byCritic = nets.denoise(CRITIC, noised, sigma, labels).detach();
    Var far = grouped(x.detach().sub(byTeacher).abs()).mean(1);
    Var direction = grouped(byCritic.sub(byTeacher)).mulBroadcast(column(inverse(far)));
    return WeightedSum.single(
        "score_difference", ScoreMatching.along(x, direction.reshape(x.shape().dims())));
  }

  /// A row for every group.
  private Var grouped(Var images) {
    long groups = settings.batch / settings.group;
    return images.reshape(groups, images.shape().elements() / groups);
  }

  private static Var column(Var numbers) {
    return numbers.reshape(numbers.shape().elements(), 1);
  }

  /// `1 / max(x, floor)`.
  private static Var inverse(Var x) {
    return x.affine(1, -FLOOR).relu().affine(1, FLOOR).log().scale(-1).exp();
  }

  private Terms critic(Nets nets, Batch real, Noise noise) {
    Var fake = nets.left(GENERATED).orElseGet(() -> generate(nets, real, noise).detach());
    return ScoreMatching.critic(nets, sigmaData, fake, labels(real), noise);
  }

  private Var generate(Nets nets, Batch real, Noise noise) {
    return Generator.oneStep(settings.sigmaMax)
        .images(nets, labels(real), nets.images(real, settings.batch), noise);
  }

  /// One class a group: that of the real image in the group's first place.
  private int[] labels(Batch real) {
    int[] labels = new int[settings.batch];
    for (int i = 0; i < labels.length; i++) {
      labels[i] = real.labels()[i - i % settings.group];
    }
    return labels;
  }

  /// One level a group.
  private float[] levels(Nets nets, Noise noise) {
    float[] drawn = ScoreMatching.middleBins(nets, settings.batch, noise);
    float[] levels = new float[drawn.length];
    for (int i = 0; i < levels.length; i++) {
      levels[i] = drawn[i - i % settings.group];
    }
    return levels;
  }
}
