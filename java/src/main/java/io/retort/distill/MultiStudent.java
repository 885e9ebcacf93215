package io.retort.distill;

import io.retort.data.Batch;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.ClassExperts;
import io.retort.net.DiffusionNet;
import io.retort.net.SongUNet;
import io.retort.op.EdmLoss;
import io.retort.op.ScoreDifference;
import io.retort.tensor.Shape;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;

/// Multi-student distillation: K one-step students, each for its part of the classes; the class
/// says which one draws.
///
/// Students smaller than the teacher begin at random and first learn to denoise as it does:
/// `weight(sigma) (D_student - D_teacher)^2` on noised real images (teacher score matching). Then
/// distribution matching with two time scales as in DMD2, the same number of images for every
/// student, and a critic for each or one for all. Students and critics share nothing, so learning
/// side by side is learning one by one, but for the common clipping. Source: Song et al. 2024
/// (arXiv 2410.23274).
public record MultiStudent(DiffusionNet network, Settings settings, double sigmaData)
    implements Method {
  static final String MATCHING = "matching";

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "msd",
          Goal.STUDENT,
          "several one-step students, each for a part of the classes, smaller ones too",
          "Song et al. 2024, arXiv 2410.23274",
          List.of("fashion-mnist-msd", "fashion-mnist-msd-small"),
          "recipes/evidence/METHODS.md",
          Settings.DEFAULT,
          (settings, inputs) -> new MultiStudent(inputs.teacher(), settings, inputs.sigmaData()),
          MultiStudent::ablations);

  private static final String GENERATED = "generated";
  private static final ScoreDifference DIFFERENCE =
      new ScoreDifference(ScoreDifference.Form.DMD, 1e-6);

  /// Whom a critic watches.
  public enum Critics {
    /// Each student has its own.
    OWN,
    /// One watches all; it is told the class.
    SHARED
  }

  /// The method's numbers.
  ///
  /// @param teacher `builtin`, `train`, a run directory or a model file
  /// @param batch images a step of all students together, a multiple of `students`
  /// @param students how many, a divisor of the classes
  /// @param channels width of their first level, 0 for the teacher's structure and weights
  /// @param matchingSteps steps in which they learn the teacher's denoising; with the teacher's
  ///   weights there is nothing to learn
  /// @param meanLog mean of ln sigma in these steps
  /// @param stdLog its standard deviation
  /// @param critics whom a critic watches
  /// @param criticSteps critic updates per student update
  /// @param sigmaMax noise level a student starts from
  public record Settings(
      String teacher,
      int batch,
      int students,
      int channels,
      long matchingSteps,
      double meanLog,
      double stdLog,
      Critics critics,
      int criticSteps,
      double sigmaMax,
      AdamSpec student,
      AdamSpec critic)
      implements Distillation {
    public static final Settings DEFAULT =
        new Settings(
            "builtin",
            32,
            2,
            0,
            0,
            -1.2,
            1.2,
            Critics.OWN,
            2,
            80,
            new AdamSpec(3e-4, 0, 0.99, 1e-8, 0, 10, 20, 360),
            new AdamSpec(5e-4, 0, 0.99, 1e-8, 0, 10, 20, 360));

    public Settings {
      Checks.teacher(teacher);
      Checks.require(
          students >= 1 && batch >= students && batch % students == 0,
          "batch must be a multiple of students, got %d and %d".formatted(batch, students));
      Checks.require(
          channels == 0 || channels >= 4 && channels % 4 == 0 && channels <= 4096,
          "channels must be 0 or a multiple of 4, at most 4096, got " + channels);
      Checks.require(matchingSteps >= 0, "matching_steps must be at least 0, got " + matchingSteps);
      Checks.require(stdLog > 0, "std_log must be above 0, got " + stdLog);
      Checks.require(criticSteps >= 1, "critic_steps must be at least 1, got " + criticSteps);
      Checks.levels(sigmaMax, 1);
    }

    @Override
    public List<Double> levels() {
      return List.of(sigmaMax);
    }
  }

  /// @throws IllegalArgumentException if the classes cannot be shared out, or the teacher is no
  ///   network that there are smaller ones of
  public MultiStudent {
    Checks.require(
        network.classes() > 0 && network.classes() % settings.students == 0,
        "students must be a divisor of the teacher's classes, got %d of %d"
            .formatted(settings.students, network.classes()));
    student(network, settings);
  }

  private static SequencedMap<String, String> ablations(Settings settings) {
    SequencedMap<String, String> controls = new LinkedHashMap<>();
    if (settings.channels > 0 && settings.matchingSteps > 0) {
      controls.put("student_without_matching", "matching_steps=0");
    }
    if (settings.students > 1) {
      controls.put("one_student", "students=1");
    }
    return controls;
  }

  /// The structure of each student.
  private static DiffusionNet student(DiffusionNet network, Settings settings) {
    if (settings.channels == 0) {
      return network;
    }
    if (!(network instanceof SongUNet song)) {
      throw new IllegalArgumentException(
          "channels must be 0, there are smaller students of a SongUNet alone, got a "
              + network.getClass().getSimpleName());
    }
    return new SongUNet(song.config().ofWidth(settings.channels));
  }

  private DiffusionNet each(DiffusionNet one) {
    return settings.students == 1 ? one : new ClassExperts(one, settings.students);
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
    DiffusionNet students = each(student(network, settings));
    DiffusionNet critics = settings.critics == Critics.OWN ? each(network) : network;
    return List.of(
        Role.frozen(TEACHER, network),
        settings.channels == 0
            ? Role.copied(STUDENT, students, settings.student, true)
            : Role.drawn(STUDENT, students, settings.student, true),
        Role.copied(CRITIC, critics, settings.critic, false));
  }

  @Override
  public List<Phase> phases() {
    long from = settings.matchingSteps;
    List<Phase> phases = new ArrayList<>();
    if (from > 0) {
      phases.add(new Phase(MATCHING, 1, 0, from, Set.of(STUDENT), this::match));
    }
    phases.add(new Phase(STUDENT, settings.criticSteps, from, Set.of(STUDENT), this::student));
    phases.add(new Phase(CRITIC, 1, from, Set.of(CRITIC), this::critic));
    return phases;
  }

  private Terms match(Nets nets, Batch real, Noise noise) {
    Tape tape = nets.tape();
    int[] labels = real.labels();
    float[] sigma = noise.logNormal(settings.batch, settings.meanLog, settings.stdLog);
    Var noised = noise.add(nets.images(real, settings.batch), sigma);
    Var wanted = nets.denoise(TEACHER, noised, sigma, labels).detach();
    Var made = nets.denoise(STUDENT, noised, sigma, labels);
    Var level = tape.constant(Shape.of(sigma.length), sigma);
    EdmLoss loss = new EdmLoss(sigmaData, EdmLoss.Pixels.MEAN);
    return WeightedSum.single("denoising", tape.apply(loss, made, wanted, level));
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    int[] labels = labels(real);
    Var x = generate(nets, real, noise);
    nets.leave(GENERATED, x);
    float[] sigma = ScoreMatching.middleBins(nets, settings.batch, noise);
    return WeightedSum.single(
        "score_difference", ScoreMatching.difference(DIFFERENCE, nets, x, sigma, labels, noise));
  }

  private Terms critic(Nets nets, Batch real, Noise noise) {
    Var fake = nets.left(GENERATED).orElseGet(() -> generate(nets, real, noise).detach());
    return ScoreMatching.critic(nets, sigmaData, fake, labels(real), noise);
  }

  private Var generate(Nets nets, Batch real, Noise noise) {
    return Generator.oneStep(settings.sigmaMax)
        .images(nets, labels(real), nets.images(real, settings.batch), noise);
  }

  /// Classes of the generated images: as many of every student's part, one student after the other,
  /// and within a part as often as among the real images.
  int[] labels(Batch real) {
    int images = settings.batch / settings.students;
    int classes = network.classes() / settings.students;
    int[] labels = new int[settings.batch];
    for (int i = 0; i < labels.length; i++) {
      labels[i] = i / images * classes + real.labels()[i] % classes;
    }
    return labels;
  }
}
