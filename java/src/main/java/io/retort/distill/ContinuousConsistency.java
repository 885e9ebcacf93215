package io.retort.distill;

import io.retort.data.Batch;
import io.retort.diffusion.KarrasSigmas;
import io.retort.diffusion.Preconditioning;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.net.LogVariance;
import io.retort.tensor.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.DoubleUnaryOperator;

/// sCM: consistency in continuous time, between points of a path that are infinitely near.
///
/// On TrigFlow's path `x = cos a clean + sin a z`, z of the data's deviation sd, the student is `f
/// = cos a x - sin a sd F(x / sd, a)`. With the path's velocity v (of the teacher, or of clean
/// image and noise), `dF` the derivative of F along `(sin a cos a v, sin a cos a)` and a warm-up r
/// from 0 to 1,
///
/// `g = -cos^2 a (sd F - v) - r (sin a cos a x + sd dF)`, `loss = w e^-u |F - sg(F + g)|^2 + u`,
///
/// g divided by its root mean square plus 0.1, w the inverse level, u learnt. `dF` is a central
/// difference with activations of float32. A network in EDM's preconditioning is `-F` at `sigma =
/// sd tan a`; in others F is a mixture of network and x. Source: Lu & Song 2024 (arXiv 2410.11081),
/// algorithm 1 and section 4.
public record ContinuousConsistency(DiffusionNet network, Settings settings, double sigmaData)
    implements Method {
  static final String WEIGHTING = "weighting";

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "scm",
          Goal.STUDENT,
          "one- or few-step student: consistency in continuous time (sCD, sCT)",
          "Lu & Song 2024, arXiv 2410.11081",
          List.of("fashion-mnist-scd", "fashion-mnist-sct"),
          "recipes/evidence/METHODS.md",
          Settings.DEFAULT,
          (settings, inputs) ->
              new ContinuousConsistency(inputs.teacher(), settings, inputs.sigmaData()),
          ContinuousConsistency::ablations);

  private static final int WAVES = 64;

  /// Where the velocity of a path comes from.
  public enum Source {
    /// The teacher: consistency distillation, sCD.
    TEACHER,
    /// Image and noise: consistency training, sCT.
    DATA
  }

  /// The method's numbers.
  ///
  /// @param teacher `builtin`, `train`, a run directory or a model file
  /// @param batch real images a step
  /// @param sigmaMax noise level a sample starts from
  /// @param steps of the student when it is sampled
  /// @param source of the velocity
  /// @param meanLog mean of ln sigma
  /// @param stdLog its standard deviation
  /// @param tangentWarmup steps until r is 1
  /// @param normalised whether g is divided by its length
  /// @param floor added to that length
  /// @param adaptive whether u is learnt, 0 otherwise
  /// @param epsilon half the width of the central difference, in units of the direction
  public record Settings(
      String teacher,
      int batch,
      double sigmaMax,
      int steps,
      Source source,
      double meanLog,
      double stdLog,
      long tangentWarmup,
      boolean normalised,
      double floor,
      boolean adaptive,
      double epsilon,
      AdamSpec student)
      implements Distillation {
    public static final Settings DEFAULT =
        new Settings(
            "builtin",
            32,
            80,
            1,
            Source.TEACHER,
            -1,
            1.4,
            300,
            true,
            0.1,
            true,
            1e-3,
            new AdamSpec(3e-4, 0.9, 0.99, 1e-8, 0, 0, 50, 400));

    public Settings {
      Checks.teacher(teacher);
      Checks.require(batch >= 1, "batch must be at least 1, got " + batch);
      Checks.levels(sigmaMax, steps);
      Checks.require(stdLog > 0, "std_log must be above 0, got " + stdLog);
      Checks.require(tangentWarmup >= 0, "tangent_warmup must be at least 0, got " + tangentWarmup);
      Checks.require(floor > 0, "floor must be above 0, got " + floor);
      Checks.require(
          epsilon > 0 && epsilon <= 0.1, "epsilon must be above 0 and at most 0.1, got " + epsilon);
    }

    @Override
    public List<Double> levels() {
      return Generator.levels(sigmaMax, steps);
    }

    /// r at a step.
    double warmth(long step) {
      return tangentWarmup == 0 ? 1 : Math.min(1, step / (double) tangentWarmup);
    }
  }

  private static SequencedMap<String, String> ablations(Settings settings) {
    SequencedMap<String, String> controls = new LinkedHashMap<>();
    if (settings.normalised) {
      controls.put("student_without_normalisation", "normalised=false");
    }
    if (settings.adaptive) {
      controls.put("student_without_weighting", "adaptive=false");
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
    roles.add(Role.copied(STUDENT, network, settings.student, true));
    if (settings.adaptive) {
      roles.add(Role.drawn(WEIGHTING, new LogVariance(WAVES), settings.student, false));
    }
    return roles;
  }

  @Override
  public List<Phase> phases() {
    Set<String> trained = settings.adaptive ? Set.of(STUDENT, WEIGHTING) : Set.of(STUDENT);
    return List.of(new Phase(STUDENT, 1, trained, this::student));
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    Tape tape = nets.tape();
    Nets untaught = nets.on(Tape.inference(tape.backend(), tape.scope()));
    int[] labels = real.labels();
    Var clean = untaught.images(real, settings.batch);
    double[] angle = angles(nets, noise);
    Var z = noise.normal(untaught.tape(), clean.shape(), sigmaData);
    Var x = mixed(clean, each(angle, Math::cos), z, each(angle, Math::sin));
    Var velocity =
        switch (settings.source) {
          case DATA -> mixed(z, each(angle, Math::cos), clean, each(angle, a -> -Math.sin(a)));
          case TEACHER -> velocity(untaught, x, angle, labels);
        };
    Field exact = (at, angles) -> field(untaught, STUDENT, at, angles, labels, true);
    Var made = field(nets, STUDENT, tape.constant(x.value()), angle, labels, false);
    Var known = untaught.tape().constant(made.value());
    double warmth = settings.warmth(noise.step());
    Var derivative = derivative(exact, x, angle, velocity, settings.epsilon);
    Var tangent = tangent(known, derivative, x, angle, velocity, warmth, sigmaData);
    Var length = tangent.square().mean(1, 2, 3).sqrt();
    Var used = settings.normalised ? tangent.mulBroadcast(inverse(length)) : tangent;
    Var wanted = tape.constant(known.add(used).value());
    Var distances = made.sub(wanted).square().mean(1, 2, 3).mul(inverseLevels(tape, angle));
    SequencedMap<String, Var> parts = new LinkedHashMap<>();
    parts.put("tangent", tape.constant(length.mean().value()));
    if (!settings.adaptive) {
      parts.put("consistency", distances.mean());
      return new Terms(parts.get("consistency"), parts);
    }
    Var uncertainty = uncertainty(nets, angle);
    Var weighted = distances.mul(uncertainty.scale(-1).exp()).mean();
    parts.put("consistency", weighted);
    parts.put("log_variance", uncertainty.mean());
    return new Terms(weighted.add(uncertainty.mean()), parts);
  }

  /// A function of points and their angles: F.
  @FunctionalInterface
  interface Field {
    Var at(Var x, double[] angle);
  }

  /// The derivative of F along `(sin a cos a v, sin a cos a)`, by a central difference.
  static Var derivative(Field field, Var x, double[] angle, Var velocity, double epsilon) {
    double[] rate = each(angle, a -> epsilon * Math.sin(a) * Math.cos(a));
    double[] above = new double[angle.length];
    double[] below = new double[angle.length];
    for (int i = 0; i < angle.length; i++) {
      above[i] = angle[i] + rate[i];
      below[i] = angle[i] - rate[i];
    }
    Var shift = ScoreMatching.perSample(velocity, rate);
    Var difference = field.at(x.add(shift), above).sub(field.at(x.sub(shift), below));
    return difference.scale(0.5 / epsilon);
  }

  /// g before it is divided by its length.
  static Var tangent(
      Var field, Var derivative, Var x, double[] angle, Var velocity, double warmth, double sd) {
    Var off = field.add(sd, velocity, -1);
    Var along =
        ScoreMatching.perSample(x, each(angle, a -> Math.sin(a) * Math.cos(a)))
            .add(1, derivative, sd);
    return ScoreMatching.perSample(off, each(angle, a -> -Math.cos(a) * Math.cos(a)))
        .add(1, along, -warmth);
  }

  /// F of a role.
  private Var field(Nets nets, String role, Var x, double[] angle, int[] labels, boolean exact) {
    Preconditioning network = nets.preconditioning();
    float[] sigma = levels(angle);
    double[] ofNetwork = new double[angle.length];
    double[] ofX = new double[angle.length];
    for (int i = 0; i < angle.length; i++) {
      double below = sigmaData * Math.sin(angle[i]);
      double cos = Math.cos(angle[i]);
      ofNetwork[i] = -network.out(sigma[i]) / below;
      ofX[i] = (cos - network.skip(sigma[i]) / cos) / below;
    }
    Var state = ScoreMatching.perSample(x, each(angle, a -> 1 / Math.cos(a)));
    Var raw = ScoreMatching.perSample(nets.predict(role, state, sigma, labels, exact), ofNetwork);
    return network instanceof Preconditioning.Edm edm && edm.sigmaData() == sigmaData
        ? raw
        : raw.add(ScoreMatching.perSample(x, ofX));
  }

  /// The teacher's velocity `sd F`, `(cos a x - D) / sin a`.
  private Var velocity(Nets nets, Var x, double[] angle, int[] labels) {
    Var state = ScoreMatching.perSample(x, each(angle, a -> 1 / Math.cos(a)));
    Var denoised = nets.denoise(TEACHER, state, levels(angle), labels);
    return mixed(
        x,
        each(angle, a -> Math.cos(a) / Math.sin(a)),
        denoised,
        each(angle, a -> -1 / Math.sin(a)));
  }

  /// @throws IllegalArgumentException if the networks are told numbered levels: between two of them
  ///   F is constant, and its derivative along the path nothing or a jump
  private double[] angles(Nets nets, Noise noise) {
    Checks.require(
        !(nets.preconditioning() instanceof Preconditioning.Iddpm),
        "scm: the teacher must know every noise level, iddpm's knows numbered ones alone");
    KarrasSigmas known = KarrasSigmas.EDM.within(nets.preconditioning());
    float[] sigma = noise.logNormal(settings.batch, settings.meanLog, settings.stdLog);
    double[] angle = new double[sigma.length];
    for (int i = 0; i < angle.length; i++) {
      angle[i] = Math.atan(Math.clamp((double) sigma[i], known.min(), known.max()) / sigmaData);
    }
    return angle;
  }

  /// `sd tan a`.
  private float[] levels(double[] angle) {
    float[] sigma = new float[angle.length];
    for (int i = 0; i < sigma.length; i++) {
      sigma[i] = (float) (sigmaData * Math.tan(angle[i]));
    }
    return sigma;
  }

  private Var inverseLevels(Tape tape, double[] angle) {
    float[] weights = levels(angle);
    for (int i = 0; i < weights.length; i++) {
      weights[i] = 1 / weights[i];
    }
    return tape.constant(Shape.of(weights.length), weights);
  }

  /// u `(N)`.
  private Var uncertainty(Nets nets, double[] angle) {
    float[] logs = levels(angle);
    for (int i = 0; i < logs.length; i++) {
      logs[i] = (float) Math.log(logs[i]);
    }
    Var told = nets.tape().constant(Shape.of(logs.length), logs);
    return new LogVariance(WAVES).apply(nets.tape(), nets.parameters(WEIGHTING), told);
  }

  /// `1 / (length + floor)` a sample.
  private Var inverse(Var length) {
    return length
        .affine(1, settings.floor)
        .log()
        .scale(-1)
        .exp()
        .reshape(length.shape().dim(0), 1, 1, 1);
  }

  private static Var mixed(Var a, double[] ofA, Var b, double[] ofB) {
    return ScoreMatching.perSample(a, ofA).add(ScoreMatching.perSample(b, ofB));
  }

  private static double[] each(double[] angle, DoubleUnaryOperator function) {
    return Arrays.stream(angle).map(function).toArray();
  }
}
