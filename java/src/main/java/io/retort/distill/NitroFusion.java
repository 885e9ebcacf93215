package io.retort.distill;

import io.retort.data.Batch;
import io.retort.diffusion.KarrasSigmas;
import io.retort.distill.MethodKind.Goal;
import io.retort.grad.Var;
import io.retort.net.DiffusionNet;
import io.retort.net.FeatureHeads;
import io.retort.net.FeatureMap;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;

/// NitroFusion: a GAN against the teacher's samples, with a pool of discriminator heads of which a
/// few look at every step and a few begin anew.
///
/// Every step draws one of four noise levels and, for every feature map of the frozen teacher, one
/// of the heads that know this level; student and discriminator play with these. Before it the
/// student learns to make the teacher's images of the teacher's noise in one step. A student of
/// several levels gets them one after another, the first one first. Source: Chen et al. 2024 (arXiv
/// 2412.02030).
public record NitroFusion(DiffusionNet network, Settings settings) implements Method {
  public static final String POOL = "pool";

  public static final MethodKind<Settings> KIND =
      new MethodKind<>(
          "nitrofusion",
          Goal.STUDENT,
          "one- or few-step student: GAN with a pool of heads on the teacher's features, refreshed",
          "Chen et al. 2024, arXiv 2412.02030",
          List.of("fashion-mnist-nitrofusion"),
          "recipes/evidence/METHODS.md",
          Settings.DEFAULT,
          (settings, inputs) -> new NitroFusion(inputs.teacher(), settings),
          NitroFusion::ablations);

  private static final String GENERATED = "generated";

  /// Bins of EDM's curve of 1000 that heads look at.
  private static final int[] BINS = {10, 250, 500, 750};

  /// The method's numbers.
  ///
  /// @param teacher `builtin`, `train`, a run directory or a model file
  /// @param batch generated images a step, and samples of the teacher
  /// @param sigmaMax noise level the student starts from
  /// @param steps of the student
  /// @param warmup steps of regression before the GAN
  /// @param rise steps from one level of the student to the next, 0 for all levels at once
  /// @param pairs samples of the teacher, made once
  /// @param pairSteps Heun steps of each
  /// @param pool heads of every noise level and feature map
  /// @param refresh share of the heads that begin anew after a step
  public record Settings(
      String teacher,
      int batch,
      double sigmaMax,
      int steps,
      long warmup,
      long rise,
      int pairs,
      int pairSteps,
      int pool,
      double refresh,
      FeatureGan gan,
      AdamSpec student)
      implements Distillation {
    public static final Settings DEFAULT =
        new Settings(
            "builtin",
            32,
            80,
            1,
            200,
            200,
            2048,
            18,
            6,
            0.01,
            FeatureGan.DEFAULT,
            new AdamSpec(2e-4, 0, 0.99, 1e-8, 0, 0, 20, 360));

    public Settings {
      Checks.teacher(teacher);
      Checks.require(batch >= 1, "batch must be at least 1, got " + batch);
      Checks.levels(sigmaMax, steps);
      Checks.require(
          warmup >= 0 && rise >= 0,
          "warmup and rise must be at least 0, got %d and %d".formatted(warmup, rise));
      Checks.pairs(pairs, pairSteps);
      Checks.require(pool >= 1 && pool <= 256, "pool must be 1 to 256, got " + pool);
      Checks.require(refresh >= 0 && refresh < 1, "refresh must be in [0, 1), got " + refresh);
      Checks.require(
          gan.optimizer().beta1() == 0 && gan.optimizer().decay() == 0,
          "gan.optimizer.beta1 and decay must be 0, so that heads that rest stay as they are");
    }

    @Override
    public List<Double> levels() {
      return Generator.levels(sigmaMax, steps);
    }

    /// The levels that are trained at a step.
    List<Double> levels(long step) {
      long risen = rise == 0 ? steps : 1 + Math.max(0, step - warmup) / rise;
      return levels().subList(0, (int) Math.min(steps, risen));
    }
  }

  /// @throws IllegalArgumentException if the network has no bottleneck
  public NitroFusion {
    FeatureGan.maps(network);
  }

  private static SequencedMap<String, String> ablations(Settings settings) {
    SequencedMap<String, String> controls = new LinkedHashMap<>();
    if (settings.pool > 1) {
      controls.put("student_of_one_head", "pool=1");
    }
    if (settings.refresh > 0) {
      controls.put("student_without_refresh", "refresh=0");
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
  public Optional<Pairs> pairs() {
    return Optional.of(new Pairs(settings.pairs, settings.pairSteps, settings.batch));
  }

  @Override
  public List<Role> roles() {
    FeatureHeads heads = settings.gan.heads(network, BINS.length * settings.pool);
    return List.of(
        Role.frozen(TEACHER, network),
        Role.copied(STUDENT, network, settings.student, true),
        Role.drawn(POOL, heads, settings.gan.optimizer(), false));
  }

  @Override
  public List<Phase> phases() {
    long begin = settings.warmup;
    return List.of(
        new Phase("warmup", 1, 0, begin, Set.of(STUDENT), this::regression),
        new Phase(STUDENT, 1, begin, Set.of(STUDENT), this::student),
        new Phase(POOL, 1, begin, Set.of(POOL), this::pool));
  }

  private Terms regression(Nets nets, Batch real, Noise noise) {
    Replay replay = Replay.of(nets, real);
    Var made = replay.student(nets, settings.sigmaMax);
    return WeightedSum.single("regression", made.sub(replay.images()).square().mean());
  }

  private Terms student(Nets nets, Batch real, Noise noise) {
    Replay replay = Replay.of(nets, real);
    Generator generator = new Generator(settings.levels(noise.step()), true);
    Var x = generator.images(nets, replay.labels(), replay.images(), noise);
    nets.leave(GENERATED, x);
    Draw draw = draw(nets, noise);
    List<Var> fake = logits(nets, draw, noise.add(x, draw.sigma), replay);
    List<Var> reals =
        settings.gan.form().paired()
            ? logits(nets, draw, noise.add(replay.images(), draw.sigma), replay)
            : List.of();
    return WeightedSum.single("gan", settings.gan.form().generator(fake, reals));
  }

  private Terms pool(Nets nets, Batch real, Noise noise) {
    Replay replay = Replay.of(nets, real);
    Draw draw = draw(nets, noise);
    Var fake = noise.add(nets.left(GENERATED).orElseThrow(), draw.sigma);
    Var images = noise.add(replay.images(), draw.sigma);
    WeightedSum sum = new WeightedSum(nets.tape());
    settings.gan.teach(
        sum,
        1,
        logits(nets, draw, fake, replay),
        images,
        noised -> logits(nets, draw, noised, replay),
        noise);
    return sum.terms();
  }

  private static List<Var> logits(Nets nets, Draw draw, Var noised, Replay replay) {
    return nets.discriminate(POOL, draw.heads, TEACHER, noised, draw.sigma, replay.labels());
  }

  /// Who looks in a step.
  ///
  /// @param sigma the noise level, once for every image
  /// @param heads the head of every map
  record Draw(float[] sigma, int[] heads) {}

  /// The same for all phases of a step.
  Draw draw(Nets nets, Noise noise) {
    PhiloxKey key = noise.shared().key(Purpose.TIME);
    int level = Philox.below(key, 0, BINS.length);
    KarrasSigmas sigmas = KarrasSigmas.EDM.within(nets.preconditioning());
    float[] sigma = new float[settings.batch];
    Arrays.fill(sigma, (float) nets.preconditioning().round(sigmas.bin(BINS[level], 1000)));
    int[] heads = FeatureGan.single(network);
    for (int map = 0; map < heads.length; map++) {
      heads[map] = level * settings.pool + Philox.below(key, 1 + map, settings.pool);
    }
    return new Draw(sigma, heads);
  }

  /// Every head with the probability `refresh`.
  @Override
  public List<Redraw> redraws(Noise noise) {
    if (settings.refresh == 0 || noise.step() < settings.warmup) {
      return List.of();
    }
    PhiloxKey chance = noise.key(Purpose.TIME);
    List<FeatureMap> maps = FeatureGan.maps(network);
    int heads = BINS.length * settings.pool;
    Set<String> anew = new HashSet<>();
    for (int i = 0; i < maps.size() * heads; i++) {
      if (Philox.uniform(chance, i) < settings.refresh) {
        anew.add(FeatureHeads.prefix(i / heads, i % heads));
      }
    }
    return anew.isEmpty()
        ? List.of()
        : List.of(
            new Redraw(
                POOL, name -> anew.contains(FeatureHeads.prefix(name)), noise.key(Purpose.INIT)));
  }
}
