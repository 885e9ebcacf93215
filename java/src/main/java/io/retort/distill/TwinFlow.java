package io.retort.distill;

import io.retort.data.Batch;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.net.SongUNet;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;

/// TwinFlow: one network that is its own critic; negative times are the flow to its own images.
///
/// On the line `x_t = t z + (1 - t) clean` the network gives `F(x_t, t, s)`, the mean velocity from
/// t down to s. Five losses, mean squares all of them: F follows the mean velocity that v = z -
/// clean and an averaged copy of itself imply (RCGM), and v itself at s = t; at -t it follows the
/// velocity of its one-step images x; and these move by the difference of the two velocities at x,
/// `F(u, -t, -t) - F(u, t, t)`, as in distribution matching. No teacher, no critic, no
/// discriminator. The network is a denoiser of `sigma = t / (1 - t)` that is told s and whether t
/// is negative, zeros for one step: `F = (x_t - D) / t`. Source: TwinFlow, 2025 (arXiv 2512.05150).
public record TwinFlow(DiffusionNet network, Settings settings) implements Method {
  static final String TARGET = "target";

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "twinflow",
          Goal.STUDENT,
          "one-step student that is its own critic at negative times, without a teacher",
          "2025, arXiv 2512.05150",
          List.of("fashion-mnist-twinflow"),
          "recipes/evidence/METHODS.md",
          Settings.DEFAULT,
          (settings, inputs) -> new TwinFlow(inputs.teacher(), settings),
          TwinFlow::ablations);

  /// Numbers the network is told with every image: s, and 1 where t is negative.
  private static final int TOLD = 2;

  /// The step of the mean velocity's target, and the time below which nothing is asked.
  private static final double STEP = 0.01;

  private static final double LEAST = 0.002;
  private static final int SUBSTEPS = 2;

  /// What the network begins as.
  public enum Start {
    TEACHER,
    RANDOM
  }

  /// The method's numbers.
  ///
  /// @param teacher first weights and what the report compares with: `builtin`, `train`, a run
  ///   directory or a model file
  /// @param batch real images a step
  /// @param sigmaMax noise level a sample starts from, `t / (1 - t)` of the largest time
  /// @param start first weights of the network
  /// @param enhanced how far v is guided by the averaged copy, 0 for not at all
  /// @param decay what the averaged copy keeps of itself in the end
  /// @param twin weight of the losses at negative times and of the difference, 0 switches them off
  public record Settings(
      String teacher,
      int batch,
      double sigmaMax,
      Start start,
      double enhanced,
      double decay,
      double twin,
      AdamSpec student)
      implements Distillation {
    public static final Settings DEFAULT =
        new Settings(
            "builtin",
            32,
            80,
            Start.TEACHER,
            0.5,
            0.99,
            1,
            new AdamSpec(2e-4, 0.9, 0.999, 1e-8, 0, 10, 20, 360));

    public Settings {
      Checks.teacher(teacher);
      Checks.require(batch >= 2, "batch must be at least 2, got " + batch);
      Checks.levels(sigmaMax, 1);
      Checks.require(enhanced >= 0, "enhanced must be at least 0, got " + enhanced);
      Checks.require(decay >= 0 && decay < 1, "decay must be in [0, 1), got " + decay);
      Checks.require(twin >= 0, "twin must be at least 0, got " + twin);
    }

    @Override
    public List<Double> levels() {
      return List.of(sigmaMax);
    }

    /// t of pure noise.
    double last() {
      return sigmaMax / (1 + sigmaMax);
    }

    /// What the averaged copy keeps of itself at step `step`, counted from 0: `a <- a + (1 -
    /// a)(decay
    /// - a) / 2` from a = 0, once for every step so far and this one. It rises to `decay`, so that
    ///   the copy forgets where it began.
    double decayAt(long step) {
      double now = 0;
      for (long i = 0; i <= step && decay - now > 1e-9; i++) {
        now += (1 - now) * (decay - now) / 2;
      }
      return now;
    }
  }

  /// @throws IllegalArgumentException if the network cannot be told more than a level and a class
  public TwinFlow {
    told(network);
  }

  private static SequencedMap<String, String> ablations(Settings settings) {
    SequencedMap<String, String> controls = new LinkedHashMap<>();
    if (settings.twin > 0) {
      controls.put("student_without_twin", "twin=0");
    }
    return controls;
  }

  private static SongUNet told(DiffusionNet network) {
    if (network instanceof SongUNet song && song.augmentation() == 0) {
      return new SongUNet(song.config().told(TOLD));
    }
    throw new IllegalArgumentException(
        "teacher must be a SongUNet without augmentation, whose network can be told two more"
            + " numbers");
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
    SongUNet net = told(network);
    boolean copied = settings.start == Start.TEACHER;
    return List.of(
        Role.frozen(TEACHER, network),
        copied
            ? Role.copied(STUDENT, net, settings.student, true)
            : Role.drawn(STUDENT, net, settings.student, true),
        copied ? Role.frozen(TARGET, net) : Role.following(TARGET, net));
  }

  @Override
  public List<Phase> phases() {
    return List.of(new Phase(STUDENT, 1, Set.of(STUDENT), this::student));
  }

  @Override
  public List<Blend> blends(long step) {
    return List.of(new Blend(TARGET, STUDENT, settings.decayAt(step)));
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    Tape tape = nets.tape();
    Nets untaught = nets.on(Tape.inference(tape.backend(), tape.scope()));
    int[] labels = real.labels();
    Flow flow = new Flow(nets, labels);
    Flow frozen = new Flow(untaught, labels);
    double[] t = times(noise);
    double[] until = scaled(t, noise);
    Var clean = nets.images(real, settings.batch);
    Var z = noise.normal(tape, clean.shape());
    Var x = between(z, clean, t);
    Var v = velocity(frozen, z.sub(clean), x, t);
    WeightedSum sum = new WeightedSum(tape);
    Var mean = flow.at(STUDENT, x, t, until, false);
    Var error = error(frozen, mean, v, x, t, until);
    sum.add("mean_velocity", 1, toward(mean, mean.sub(error)));
    sum.add("velocity", 1, toward(flow.at(STUDENT, x, t, t, false), v));
    if (settings.twin > 0) {
      twin(sum, flow, frozen, z, t, noise);
    }
    return sum.terms();
  }

  /// The losses of the network as its own critic.
  private void twin(WeightedSum sum, Flow flow, Flow frozen, Var z, double[] t, Noise noise) {
    double[] last = all(settings.last());
    Var start = z.scale(settings.last());
    Var made = flow.at(STUDENT, start, last, all(0), false);
    Var fake = start.sub(made.scale(settings.last())).detach();
    Var at = between(z, fake, t);
    Var faked = flow.at(STUDENT, at, t, t, true);
    sum.add("fake_velocity", settings.twin, toward(faked, z.sub(fake)));
    double[] again = times(noise);
    Var u = between(noise.normal(z.tape(), z.shape()), fake, again);
    Var difference =
        frozen.at(STUDENT, u, again, again, true).sub(frozen.at(STUDENT, u, again, again, false));
    sum.add("rectification", settings.twin, toward(made, made.sub(difference)));
  }

  /// Mean velocities of roles for these classes.
  private record Flow(Nets nets, int[] labels) {

    /// `F(x_t, t, s)`, of time -t if `negative`.
    Var at(String role, Var x, double[] t, double[] s, boolean negative) {
      float[] sigma = new float[t.length];
      float[] told = new float[TOLD * t.length];
      for (int i = 0; i < t.length; i++) {
        sigma[i] = (float) (t[i] / (1 - t[i]));
        told[TOLD * i] = (float) s[i];
        told[TOLD * i + 1] = negative ? 1 : 0;
      }
      Var here = nets.tape().constant(x.value());
      Var state =
          ScoreMatching.perSample(here, Arrays.stream(t).map(each -> 1 / (1 - each)).toArray());
      Var denoised = nets.denoise(role, state, sigma, labels, told);
      double[] inverse = Arrays.stream(t).map(each -> 1 / each).toArray();
      return ScoreMatching.perSample(here.sub(denoised), inverse);
    }

    /// The same with every image under the class of the next one: the guess of one who does not
    /// know.
    Flow mistold() {
      int[] others = new int[labels.length];
      for (int i = 0; i < others.length; i++) {
        others[i] = labels[(i + 1) % labels.length];
      }
      return new Flow(nets, others);
    }
  }

  /// v, guided by what the averaged copy makes of the class.
  private Var velocity(Flow frozen, Var plain, Var x, double[] t) {
    if (settings.enhanced == 0) {
      return plain;
    }
    Var told = frozen.at(TARGET, x, t, t, false);
    Var untold = frozen.mistold().at(TARGET, x, t, t, false);
    return plain.add(1, told.sub(untold), settings.enhanced).detach();
  }

  /// How far the mean velocity is from what a small step along v and the averaged copy from there
  /// on imply, within [-1, 1].
  private static Var error(Flow frozen, Var mean, Var v, Var x, double[] t, double[] until) {
    double[] middle = new double[t.length];
    double[] walked = new double[t.length];
    double[] ofMean = new double[t.length];
    double[] ofRest = new double[t.length];
    double[] step = new double[t.length];
    for (int i = 0; i < t.length; i++) {
      boolean far = t[i] >= until[i] + STEP;
      middle[i] = Math.max(t[i] - STEP, until[i]);
      walked[i] = -STEP;
      ofMean[i] = far ? (t[i] - until[i]) / STEP : 1;
      ofRest[i] = far ? -1 / STEP : 0;
      step[i] = (middle[i] - until[i]) / SUBSTEPS;
    }
    Var at = x.add(ScoreMatching.perSample(v, walked));
    Var rest = x.scale(0);
    for (int i = 0; i < SUBSTEPS; i++) {
      double[] from = along(middle, step, i);
      Var covered =
          ScoreMatching.perSample(
              x.tape()
                  .constant(
                      frozen
                          .at(TARGET, at, positive(from), along(middle, step, i + 1), false)
                          .value()),
              step);
      rest = rest.add(covered);
      at = at.sub(covered);
    }
    Var error =
        ScoreMatching.perSample(mean.detach(), ofMean)
            .add(ScoreMatching.perSample(rest, ofRest))
            .sub(v);
    return error.affine(1, 1).relu().add(1, error.affine(1, -1).relu(), -1).affine(1, -1);
  }

  private static double[] along(double[] from, double[] step, int count) {
    double[] times = new double[from.length];
    for (int i = 0; i < times.length; i++) {
      times[i] = from[i] - count * step[i];
    }
    return times;
  }

  /// No time below the least one.
  private static double[] positive(double[] times) {
    return Arrays.stream(times).map(time -> Math.max(time, LEAST)).toArray();
  }

  /// `mean (F - sg(wanted))^2`.
  private static Var toward(Var field, Var wanted) {
    return field.sub(wanted.detach()).square().mean();
  }

  /// `t z + (1 - t) clean`.
  private static Var between(Var z, Var clean, double[] t) {
    return ScoreMatching.perSample(z, t)
        .add(ScoreMatching.perSample(clean, Arrays.stream(t).map(each -> 1 - each).toArray()))
        .detach();
  }

  private double[] times(Noise noise) {
    PhiloxKey key = noise.key(Purpose.TIME);
    double[] times = new double[settings.batch];
    for (int i = 0; i < times.length; i++) {
      times[i] = LEAST + (settings.last() - LEAST) * Philox.uniform(key, i);
    }
    return times;
  }

  /// Uniform numbers between 0 and each time.
  private double[] scaled(double[] t, Noise noise) {
    PhiloxKey key = noise.key(Purpose.TIME);
    double[] scaled = new double[t.length];
    for (int i = 0; i < t.length; i++) {
      scaled[i] = t[i] * Philox.uniform(key, i);
    }
    return scaled;
  }

  private double[] all(double time) {
    double[] times = new double[settings.batch];
    Arrays.fill(times, time);
    return times;
  }
}
