package io.retort.distill;

import io.retort.data.Batch;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Var;
import io.retort.net.ConvDiscriminator;
import io.retort.net.DiffusionNet;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;

/// GDD: the teacher's weights as a start, then a GAN and nothing else; GDD-I trains what is not a
/// convolution of a block.
///
/// Student phase: `sum over heads of mean softplus(-logits)` on its one-step images. Discriminator
/// phase on the same images: the non-saturating loss, and every `penaltyEvery` steps `penaltyEvery
/// penalty |D(y) - D(y + delta n)|^2` on real images, an approximation of R1 that needs no second
/// derivative. Source: Zheng & Yang 2024 (arXiv 2405.20750); the approximation: Lin et al. 2025
/// (arXiv 2501.08316), eq. 5.
public record Gdd(DiffusionNet network, Settings settings, ConvDiscriminator critic)
    implements Method {
  public static final String DISCRIMINATOR = "discriminator";

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "gdd",
          Goal.STUDENT,
          "one-step student: the teacher as a start, then a GAN alone; GDD-I with fixed"
              + " convolutions",
          "Zheng & Yang 2024, arXiv 2405.20750",
          List.of("fashion-mnist-gdd", "fashion-mnist-gdd-i"),
          "recipes/evidence/METHODS.md",
          Settings.DEFAULT,
          (settings, inputs) ->
              new Gdd(
                  inputs.teacher(),
                  settings,
                  new ConvDiscriminator(
                      inputs.data().channels(),
                      inputs.teacher().classes(),
                      settings.width,
                      settings.depth)),
          Gdd::ablations);

  private static final String GENERATED = "generated";

  /// What the student begins as.
  public enum Start {
    TEACHER,
    RANDOM
  }

  /// Which of the student's weights stay the teacher's.
  public enum Fixed {
    NOTHING,
    /// Weights of blocks whose names say conv or proj: the rule of GDD-I.
    CONVOLUTIONS;

    boolean holds(String weight) {
      return this == CONVOLUTIONS
          && (weight.contains("block")
              || weight.contains("up")
              || weight.contains("down")
              || weight.contains("in"))
          && (weight.contains("conv") || weight.contains("proj"));
    }
  }

  /// The method's numbers.
  ///
  /// @param teacher `builtin`, `train`, a run directory or a model file
  /// @param batch generated and real images a step
  /// @param sigmaMax noise level the student starts from
  /// @param start first weights of the student
  /// @param fixed which of them stay as they are
  /// @param penalty weight of the approximate R1, 0 for none
  /// @param penaltyEvery steps between two of them
  /// @param delta standard deviation of its noise
  /// @param width channels of the discriminator, a multiple of 4
  /// @param depth its stages
  public record Settings(
      String teacher,
      int batch,
      double sigmaMax,
      Start start,
      Fixed fixed,
      double penalty,
      int penaltyEvery,
      double delta,
      int width,
      int depth,
      AdamSpec student,
      AdamSpec discriminator)
      implements Distillation {
    public static final Settings DEFAULT =
        new Settings(
            "builtin",
            32,
            80,
            Start.TEACHER,
            Fixed.NOTHING,
            10,
            4,
            0.1,
            64,
            3,
            new AdamSpec(2e-4, 0, 0.99, 1e-8, 0, 0, 20, 360),
            new AdamSpec(4e-4, 0, 0.99, 1e-8, 0, 0, 20, 360));

    public Settings {
      Checks.teacher(teacher);
      Checks.require(batch >= 1, "batch must be at least 1, got " + batch);
      Checks.levels(sigmaMax, 1);
      Checks.require(penalty >= 0, "penalty must be at least 0, got " + penalty);
      Checks.require(penaltyEvery >= 1, "penalty_every must be at least 1, got " + penaltyEvery);
      Checks.require(delta > 0, "delta must be above 0, got " + delta);
      Checks.require(
          width >= 4 && width % 4 == 0 && width <= 4096,
          "width must be a multiple of 4, at most 4096, got " + width);
      Checks.require(depth >= 1 && depth <= 8, "depth must be 1 to 8, got " + depth);
    }

    @Override
    public List<Double> levels() {
      return List.of(sigmaMax);
    }
  }

  private static SequencedMap<String, String> ablations(Settings settings) {
    SequencedMap<String, String> controls = new LinkedHashMap<>();
    if (settings.fixed == Fixed.CONVOLUTIONS) {
      controls.put("student_without_fixed_weights", "fixed=nothing");
    }
    if (settings.start == Start.TEACHER) {
      controls.put("student_from_nothing", "start=random");
    }
    return controls;
  }

  /// @throws IllegalArgumentException if the images are too small for the discriminator, or fixed
  ///   weights would decay
  public Gdd {
    Checks.require(
        network.resolution() >> (critic.depth() - 1) >= 1,
        "depth must leave a pixel of images of side " + network.resolution());
    student(network, settings);
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
    return List.of(
        Role.frozen(TEACHER, network),
        student(network, settings),
        Role.drawn(DISCRIMINATOR, critic, settings.discriminator, false));
  }

  private static Role student(DiffusionNet network, Settings settings) {
    Role role =
        settings.start == Start.TEACHER
            ? Role.copied(STUDENT, network, settings.student, true)
            : Role.drawn(STUDENT, network, settings.student, true);
    return settings.fixed == Fixed.NOTHING ? role : role.fixing(settings.fixed::holds);
  }

  @Override
  public List<Phase> phases() {
    return List.of(
        new Phase(STUDENT, 1, Set.of(STUDENT), this::student),
        new Phase(DISCRIMINATOR, 1, Set.of(DISCRIMINATOR), this::discriminator));
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    Var x =
        Generator.oneStep(settings.sigmaMax)
            .images(nets, real.labels(), nets.images(real, settings.batch), noise);
    nets.leave(GENERATED, x);
    List<Var> logits = logits(nets, x, real);
    Var loss = Adversarial.looksReal(logits.getFirst());
    for (Var head : logits.subList(1, logits.size())) {
      loss = loss.add(Adversarial.looksReal(head));
    }
    return WeightedSum.single("gan", loss);
  }

  private Terms discriminator(Nets nets, Batch real, Noise noise) {
    List<Var> fakes = logits(nets, nets.left(GENERATED).orElseThrow(), real);
    Var images = nets.images(real, settings.batch);
    List<Var> reals = logits(nets, images, real);
    Var loss = Adversarial.discriminator(fakes.getFirst(), reals.getFirst());
    for (int head = 1; head < fakes.size(); head++) {
      loss = loss.add(Adversarial.discriminator(fakes.get(head), reals.get(head)));
    }
    WeightedSum sum = new WeightedSum(nets.tape());
    sum.add("discriminator", 1, loss);
    if (settings.penalty > 0 && noise.step() % settings.penaltyEvery == 0) {
      float[] sigma = new float[settings.batch];
      Arrays.fill(sigma, (float) settings.delta);
      List<Var> noised = logits(nets, noise.add(images, sigma), real);
      Var change = reals.getFirst().sub(noised.getFirst()).square().mean();
      for (int head = 1; head < reals.size(); head++) {
        change = change.add(reals.get(head).sub(noised.get(head)).square().mean());
      }
      sum.add("penalty", settings.penalty * settings.penaltyEvery, change);
    }
    return sum.terms();
  }

  private List<Var> logits(Nets nets, Var x, Batch real) {
    return critic
        .apply(
            nets.tape(),
            nets.parameters(DISCRIMINATOR),
            nets.input(x),
            nets.oneHot(real.labels(), critic.classes()))
        .stream()
        .map(nets::output)
        .toList();
  }
}
