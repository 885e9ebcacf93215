package io.retort.distill;

import io.retort.data.Batch;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// GNDM: distribution matching as a reward that is normalised over groups of samples of one class,
/// with other rewards beside it.
///
/// Student phase, for groups of K images of one class under one noise level: `d_i = D_critic -
/// D_teacher`, `g_i = d_i / w` with `w = mean_i mean |x_i - D_teacher,i|` of the group in place of
/// each sample's own; `mean(g^2) / 2` with g held constant, minus the mean of other rewards in
/// standard deviations of the group. The student may then learn again from the same noise and the
/// same g, each sample and its rewards weighed by `r = exp(-mean |x - x_old|^2 / (2 spread^2))`,
/// kept within `clip` of 1: how likely its new image was. Critic phase on the same images:
/// denoising loss. Source: R_dm and GNDM, 2026 (arXiv 2603.28460), of which the formulas were not
/// to be had: this is our reading of its abstract, and no claim about the paper.
public record GroupReward(DiffusionNet network, Settings settings, double sigmaData)
    implements Method {

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "gndm",
          Goal.STUDENT,
          "one-step student: score difference normalised over groups, rewards beside it (our"
              + " reading)",
          "2026, arXiv 2603.28460",
          List.of("fashion-mnist-gndm", "fashion-mnist-gndmr"),
          "recipes/evidence/METHODS.md",
          Settings.DEFAULT,
          (settings, inputs) -> new GroupReward(inputs.teacher(), settings, inputs.sigmaData()),
          GroupReward::ablations);

  private static final String GENERATED = "generated";
  private static final String LATENTS = "latents";
  private static final String DIRECTION = "direction";
  private static final double FLOOR = 1e-6;

  /// The method's numbers.
  ///
  /// @param teacher `builtin`, `train`, a run directory or a model file
  /// @param batch generated images a step, a multiple of `group`
  /// @param group samples of one class that are normalised together, 1 for DMD's own normaliser
  /// @param criticSteps critic updates per student update
  /// @param sigmaMax noise level the student starts from
  /// @param reward weight of the rewards, 0 for none
  /// @param reuses how often the student learns again from the same noise and direction
  /// @param spread deviation of a pixel at which a changed image has become unlikely
  /// @param clip how far from 1 the weight of a sample that is used again may be
  /// @param rewards their mixture
  public record Settings(
      String teacher,
      int batch,
      int group,
      int criticSteps,
      double sigmaMax,
      double reward,
      int reuses,
      double spread,
      double clip,
      Rewards rewards,
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
            0,
            0,
            0.1,
            0.2,
            new Rewards(1, 1, 16, Rewards.OFF.classifier()),
            new AdamSpec(3e-4, 0, 0.99, 1e-8, 0, 10, 20, 360),
            new AdamSpec(5e-4, 0, 0.99, 1e-8, 0, 10, 20, 360));

    public Settings {
      Checks.teacher(teacher);
      Checks.require(
          group >= 1 && batch >= group && batch % group == 0,
          "batch must be a multiple of group, got %d and %d".formatted(batch, group));
      Checks.require(criticSteps >= 1, "critic_steps must be at least 1, got " + criticSteps);
      Checks.levels(sigmaMax, 1);
      Checks.require(reward >= 0, "reward must be at least 0, got " + reward);
      Checks.require(
          reward == 0 || rewards.on(),
          "reward must be 0, or one of rewards.confidence and rewards.sharpness above 0");
      Checks.require(reuses >= 0 && reuses <= 16, "reuses must be 0 to 16, got " + reuses);
      Checks.require(spread > 0, "spread must be above 0, got " + spread);
      Checks.require(clip > 0 && clip <= 1, "clip must be in (0, 1], got " + clip);
    }

    @Override
    public List<Double> levels() {
      return List.of(sigmaMax);
    }
  }

  /// @throws IllegalArgumentException if a classifier is wanted and there are no classes
  public GroupReward {
    if (settings.reward > 0) {
      settings.rewards.requireFits(network);
    }
  }

  private static SequencedMap<String, String> ablations(Settings settings) {
    SequencedMap<String, String> controls = new LinkedHashMap<>();
    if (settings.reward > 0) {
      controls.put("student_without_rewards", "reward=0");
    }
    if (settings.group > 1) {
      controls.put("student_without_groups", "group=1");
    }
    if (settings.reuses > 0) {
      controls.put("student_without_reuse", "reuses=0");
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
    List<Role> roles =
        new ArrayList<>(ScoreMatching.roles(network, settings.student, settings.critic));
    if (settings.reward > 0) {
      roles.addAll(settings.rewards.roles(network));
    }
    return roles;
  }

  @Override
  public List<Phase> phases() {
    List<Phase> phases = new ArrayList<>();
    phases.add(new Phase(STUDENT, settings.criticSteps, Set.of(STUDENT), this::student));
    for (int i = 1; i <= settings.reuses; i++) {
      phases.add(new Phase("reuse" + i, settings.criticSteps, Set.of(STUDENT), this::reuse));
    }
    phases.add(new Phase(CRITIC, 1, Set.of(CRITIC), this::critic));
    if (settings.reward > 0) {
      phases.addAll(settings.rewards.phases());
    }
    return phases;
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    int[] labels = labels(real);
    Var latents = latents(nets, noise);
    Var x = images(nets, latents, labels);
    nets.leave(GENERATED, x);
    float[] sigma = levels(nets, noise);
    Var noised = noise.add(x.detach(), sigma);
    Var byTeacher = nets.denoise(TEACHER, noised, sigma, labels).detach();
    Var byCritic = nets.denoise(CRITIC, noised, sigma, labels).detach();
    Var far = grouped(x.detach().sub(byTeacher).abs()).mean(1);
    Var direction =
        grouped(byCritic.sub(byTeacher))
            .mulBroadcast(column(inverse(far)))
            .reshape(x.shape().dims());
    if (settings.reuses > 0) {
      nets.leave(LATENTS, latents);
      nets.leave(DIRECTION, direction);
    }
    return terms(nets, x, direction, labels, null);
  }

  /// The score difference along a direction, and the rewards.
  ///
  /// @param weight of every sample `(N)`, null for 1
  private Terms terms(Nets nets, Var x, Var direction, int[] labels, @Nullable Var weight) {
    WeightedSum sum = new WeightedSum(nets.tape());
    Var along =
        weight == null
            ? direction
            : direction.mulBroadcast(weight.reshape(settings.batch, 1, 1, 1));
    sum.add("score_difference", 1, ScoreMatching.along(x, along));
    if (settings.reward > 0) {
      SequencedMap<String, Var> rewards = settings.rewards.each(nets, x, labels);
      Var mixed = settings.rewards.mixed(rewards, settings.group);
      sum.add("reward", -settings.reward, (weight == null ? mixed : mixed.mul(weight)).mean());
      rewards.forEach((name, reward) -> sum.watch(name, reward.detach().mean()));
    }
    return sum.terms();
  }

  /// The student's phase once more, where it has moved in the meantime.
  private Terms reuse(Nets nets, Batch real, Noise noise) {
    int[] labels = labels(real);
    Var x = images(nets, nets.left(LATENTS).orElseThrow(), labels);
    Var before = nets.left(GENERATED).orElseThrow();
    Var direction = nets.left(DIRECTION).orElseThrow();
    return terms(nets, x, direction, labels, ratio(x.detach(), before));
  }

  /// How likely the images before would be now, within `clip` of 1 `(N)`; never above 1.
  Var ratio(Var x, Var before) {
    double rate = -1 / (2 * settings.spread * settings.spread);
    double least = 1 - settings.clip;
    return x.sub(before)
        .square()
        .mean(1, 2, 3)
        .scale(rate)
        .exp()
        .affine(1, -least)
        .relu()
        .affine(1, least);
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
    Var fake =
        nets.left(GENERATED)
            .orElseGet(() -> images(nets, latents(nets, noise), labels(real)).detach());
    return ScoreMatching.critic(nets, sigmaData, fake, labels(real), noise);
  }

  private Var latents(Nets nets, Noise noise) {
    return noise.normal(nets.tape(), nets.images(STUDENT, settings.batch), top(nets));
  }

  private Var images(Nets nets, Var latents, int[] labels) {
    float[] start = new float[settings.batch];
    Arrays.fill(start, (float) top(nets));
    return nets.denoise(STUDENT, latents, start, labels);
  }

  private double top(Nets nets) {
    return Generator.oneStep(settings.sigmaMax).start(nets.preconditioning());
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
