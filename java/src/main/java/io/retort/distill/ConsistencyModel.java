package io.retort.distill;

import io.retort.data.Batch;
import io.retort.diffusion.KarrasSigmas;
import io.retort.distill.ConsistencySchedule.Levels;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Shape;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;

/// Consistency models: the student gives the same image for two points of one path.
///
/// `mean w d(f(x_t, t), f_target(x_r, r))` with r < t, one noise and one dropout mask for both, no
/// gradient through the target. x_r comes from x_t by a Heun step of the teacher (distillation) or
/// from the real image (training). f is the denoiser in EDM's own preconditioning, whose boundary
/// f(x, 0) = x lies at 0; where r is the smallest level or 0 the target is x_r itself. Sources: CM,
/// Song et al. 2023 (arXiv 2303.01469), algorithms 2 and 3; iCT (arXiv 2310.14189); ECT (arXiv
/// 2406.14548); Embedding Loss, Ying et al. 2026 (arXiv 2604.22379).
public record ConsistencyModel(DiffusionNet network, Settings settings, long steps)
    implements Method {
  public static final String TARGET = "target";

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "consistency",
          Goal.STUDENT,
          "one- or few-step student: consistency distillation and training (CM, iCT, ECT)",
          "Song et al. 2023, arXiv 2303.01469, 2310.14189; Geng et al. 2024, arXiv 2406.14548",
          List.of("fashion-mnist-consistency", "fashion-mnist-ict", "fashion-mnist-ecm"),
          "recipes/evidence/METHODS.md",
          Settings.DEFAULT,
          (settings, inputs) -> new ConsistencyModel(inputs.teacher(), settings, inputs.steps()),
          ConsistencyModel::ablations);

  /// Where the second point of a path comes from.
  public enum Source {
    /// A step of the teacher: consistency distillation.
    TEACHER,
    /// The real image: consistency training.
    DATA
  }

  /// How levels are found.
  public enum Curve {
    /// Neighbours on a grid of N levels, drawn uniformly; weight 1.
    FIXED,
    /// The same, N growing with the root of the step, the target slowing down with it.
    CT,
    /// Neighbours on a grid that doubles, drawn as a log-normal falls; weight by their distance.
    ICT,
    /// A log-normal level and a smaller one that comes nearer; weight by their distance.
    ECM
  }

  /// What the student begins as.
  public enum Start {
    TEACHER,
    RANDOM
  }

  /// The method's numbers.
  ///
  /// @param teacher `builtin`, `train`, a run directory or a model file
  /// @param batch real images a step
  /// @param sigmaMax noise level a sample starts from
  /// @param steps of the student when it is sampled
  /// @param source of the second point
  /// @param start first weights of the student
  /// @param curve how levels are drawn
  /// @param scales N of a fixed grid, the last N of a growing one
  /// @param firstScales the first N of a growing grid
  /// @param decay what the target keeps of itself, 0: the target is the student without gradient
  /// @param meanLog mean of ln sigma of curves ict and ecm
  /// @param stdLog its standard deviation
  /// @param ratio q of curve ecm
  /// @param stages of curve ecm
  /// @param distance of the two images
  /// @param huber factor of the pseudo-Huber distance
  public record Settings(
      String teacher,
      int batch,
      double sigmaMax,
      int steps,
      Source source,
      Start start,
      Curve curve,
      int scales,
      int firstScales,
      double decay,
      double meanLog,
      double stdLog,
      double ratio,
      int stages,
      Distance distance,
      double huber,
      EmbeddingTerm embedding,
      AdamSpec student)
      implements Distillation {
    public static final Settings DEFAULT =
        new Settings(
            "builtin",
            64,
            80,
            1,
            Source.TEACHER,
            Start.TEACHER,
            Curve.FIXED,
            18,
            10,
            0.95,
            -1.1,
            2.0,
            2,
            8,
            Distance.L2,
            0.00054,
            EmbeddingTerm.OFF,
            new AdamSpec(3e-4, 0.9, 0.999, 1e-8, 0, 0, 50, 400));

    public Settings {
      Checks.teacher(teacher);
      Checks.require(batch >= 1, "batch must be at least 1, got " + batch);
      Checks.levels(sigmaMax, steps);
      Checks.require(
          firstScales >= 2 && scales >= firstScales,
          "first_scales must be at least 2 and scales not below it, got %d and %d"
              .formatted(firstScales, scales));
      Checks.require(decay >= 0 && decay < 1, "decay must be in [0, 1), got " + decay);
      Checks.require(stdLog > 0, "std_log must be above 0, got " + stdLog);
      Checks.require(ratio > 1, "ratio must be above 1, got " + ratio);
      Checks.require(stages >= 1 && stages <= 32, "stages must be 1 to 32, got " + stages);
      Checks.require(huber >= 0, "huber must be at least 0, got " + huber);
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
    if (settings.decay > 0) {
      controls.put("student_without_target", "decay=0");
    }
    String last =
        switch (settings.curve) {
          case FIXED -> "";
          case CT, ICT ->
              settings.firstScales < settings.scales ? "first_scales=" + settings.scales : "";
          case ECM -> settings.stages > 1 ? "stages=1" : "";
        };
    if (!last.isEmpty()) {
      controls.put("student_without_curriculum", last);
    }
    if (settings.source == Source.TEACHER) {
      controls.put("student_from_data", "source=data");
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
    boolean copied = settings.start == Start.TEACHER;
    roles.add(
        copied
            ? Role.copied(STUDENT, network, settings.student, true)
            : Role.drawn(STUDENT, network, settings.student, true));
    if (schedule().hasTarget()) {
      roles.add(copied ? Role.frozen(TARGET, network) : Role.following(TARGET, network));
    }
    return roles;
  }

  @Override
  public List<Phase> phases() {
    return List.of(new Phase(STUDENT, 1, Set.of(STUDENT), this::student));
  }

  @Override
  public List<Blend> blends(long step) {
    return schedule().hasTarget()
        ? List.of(new Blend(TARGET, STUDENT, schedule().decayAt(step)))
        : List.of();
  }

  private ConsistencySchedule schedule() {
    return new ConsistencySchedule(
        settings.curve,
        settings.scales,
        settings.firstScales,
        settings.decay,
        settings.meanLog,
        settings.stdLog,
        settings.ratio,
        settings.stages,
        steps);
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    Points points = points(nets, real, noise);
    Var made = nets.denoise(STUDENT, points.x, points.sigma, real.labels(), points.dropout);
    WeightedSum sum = new WeightedSum(nets.tape());
    sum.add("consistency", 1, points.loss(made, settings));
    if (settings.embedding.on()) {
      settings.embedding.addTo(sum, nets, generate(nets, real, noise), real, noise);
    }
    return sum.terms();
  }

  /// One point of each path, and what the student should make of it.
  ///
  /// @param weight of each sample
  private record Points(Var x, float[] sigma, Var target, double[] weight, PhiloxKey dropout) {

    Var loss(Var made, Settings settings) {
      Var distances = settings.distance.perSample(made, target, settings.huber);
      return distances.mul(made.tape().constant(Shape.of(weight.length), floats(weight))).mean();
    }
  }

  private Points points(Nets nets, Batch real, Noise noise) {
    Tape tape = nets.tape();
    Nets untaught = nets.on(Tape.inference(tape.backend(), tape.scope()));
    Levels levels = schedule().draw(settings.batch, sigmas(nets), noise);
    Var clean = untaught.images(real, settings.batch);
    PhiloxKey shared = noise.key(Purpose.NOISE);
    PhiloxKey dropout = noise.key(Purpose.DROPOUT);
    float[] high = floats(levels.high());
    Var x = Noise.add(clean, high, shared);
    Var nearer =
        switch (settings.source) {
          case DATA -> Noise.add(clean, floats(levels.low()), shared);
          case TEACHER -> heun(untaught, x, levels, real.labels());
        };
    Var target = target(untaught, nearer, levels.low(), real.labels(), dropout);
    return new Points(
        tape.constant(x.value()), high, tape.constant(target.value()), levels.weight(), dropout);
  }

  /// EDM's levels, as far as the networks know them.
  private static KarrasSigmas sigmas(Nets nets) {
    return KarrasSigmas.EDM.within(nets.preconditioning());
  }

  /// `f_target(x_r, r)`, and x_r itself at the boundary.
  private Var target(Nets nets, Var x, double[] low, int[] labels, PhiloxKey dropout) {
    String role = schedule().hasTarget() ? TARGET : STUDENT;
    double smallest = sigmas(nets).min();
    double[] inside = new double[low.length];
    double[] boundary = new double[low.length];
    double[] sigma = new double[low.length];
    for (int i = 0; i < low.length; i++) {
      boundary[i] = low[i] <= smallest * (1 + 1e-6) ? 1 : 0;
      inside[i] = 1 - boundary[i];
      sigma[i] = Math.max(low[i], smallest);
    }
    Var made = nets.denoise(role, x, floats(sigma), labels, dropout);
    return ScoreMatching.perSample(made, inside).add(ScoreMatching.perSample(x, boundary));
  }

  /// x_r from x_t by one step of the teacher's ODE: Heun's, Euler's to level 0.
  private static Var heun(Nets nets, Var x, Levels levels, int[] labels) {
    int count = levels.high().length;
    double[] kept = new double[count];
    double[] reached = new double[count];
    double[] first = new double[count];
    double[] second = new double[count];
    double[] sigma = new double[count];
    for (int i = 0; i < count; i++) {
      double t = levels.high()[i];
      double r = levels.low()[i];
      kept[i] = r / t;
      reached[i] = 1 - r / t;
      boolean corrected = r > 0;
      first[i] = corrected ? (r - t) / (2 * t) : 0;
      second[i] = corrected ? (r - t) / (2 * r) : 0;
      sigma[i] = Math.max(r, sigmas(nets).min());
    }
    Var denoised = nets.denoise(TEACHER, x, floats(levels.high()), labels);
    Var euler = ScoreMatching.perSample(x, kept).add(ScoreMatching.perSample(denoised, reached));
    Var again = nets.denoise(TEACHER, euler, floats(sigma), labels);
    // x + (r - t) (d + d') / 2 = euler + (r - t) (d' - d) / 2
    return euler
        .sub(ScoreMatching.perSample(x.sub(denoised), first))
        .add(ScoreMatching.perSample(euler.sub(again), second));
  }

  private static float[] floats(double[] values) {
    float[] floats = new float[values.length];
    for (int i = 0; i < values.length; i++) {
      floats[i] = (float) values[i];
    }
    return floats;
  }

  private Var generate(Nets nets, Batch real, Noise noise) {
    return Generator.oneStep(settings.sigmaMax)
        .images(nets, real.labels(), nets.images(real, settings.batch), noise);
  }

  /// The Embedding Loss's weight against the consistency term, both with respect to images that the
  /// student makes: in one step for the one, of noised images for the other. Source: ours.
  @Override
  public Map<String, Double> calibrate(Nets nets, Batch real, Noise noise) {
    if (!settings.embedding.on()) {
      return Map.of();
    }
    Points points = points(nets, real, noise);
    Var made =
        nets.denoise(STUDENT, points.x, points.sigma, real.labels(), points.dropout).detach();
    double norm =
        Calibration.gradientNorm(
            nets,
            made,
            (on, images) ->
                new Points(
                        points.x,
                        points.sigma,
                        on.tape().constant(points.target.value()),
                        points.weight,
                        points.dropout)
                    .loss(images, settings));
    return settings.embedding.calibrate(
        nets, generate(nets, real, noise).detach(), real, noise, norm);
  }
}
