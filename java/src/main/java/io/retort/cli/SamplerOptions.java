package io.retort.cli;

import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.ModelFile;
import io.retort.data.NearestName;
import io.retort.diffusion.BetaSchedule;
import io.retort.diffusion.DdimSampler;
import io.retort.diffusion.DdpmSampler;
import io.retort.diffusion.DpmSolverSampler;
import io.retort.diffusion.HeunSampler;
import io.retort.diffusion.ImageSampler;
import io.retort.diffusion.KarrasSigmas;
import io.retort.diffusion.LcmSampler;
import io.retort.diffusion.Preconditioning;
import io.retort.diffusion.Sampler;
import io.retort.diffusion.Spacing;
import io.retort.diffusion.Trajectory;
import io.retort.op.Backend;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/// How a model is sampled: by default as it was made for.
final class SamplerOptions {
  private static final String KARRAS = "karras";
  private static final int DISTILLED_STEPS = 50;
  private static final double DISTILLED_SCALE = 10;

  /// The samplers by name, with the steps each takes where neither the call nor the model says.
  enum Name {
    HEUN(18),
    EULER(50),
    DDIM(50),
    DDPM(1000),
    DPMPP(20),
    LCM(4),
    FLOW(50);

    private final int usualSteps;

    Name(int usualSteps) {
      this.usualSteps = usualSteps;
    }

    String text() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  @Option(
      names = "--sampler",
      paramLabel = "NAME",
      converter = NameConverter.class,
      description = {
        "The way from noise to the image:",
        "  heun   EDM's second-order steps, 2K - 1 network calls; the",
        "         best quality for 18 and more steps. With --churn",
        "         fresh noise corrects errors on the way.",
        "  euler  first-order steps, K calls.",
        "  ddim   the same path for networks with time steps; --eta",
        "         adds noise, 1 as much as ddpm.",
        "  ddpm   draws every step from its posterior; needs",
        "         hundreds of steps.",
        "  dpmpp  DPM-Solver++(2M), second order at K calls: good",
        "         from 10 to 25 steps, with --spacing karras too.",
        "  lcm    jumps to the image and adds noise again; for",
        "         students of one to eight steps.",
        "  flow   Euler's steps along rectified flow; --shift spends",
        "         more of them on the noisy end.",
        "Default: heun, also for one-step students; ddim for other",
        "networks with time steps, flow for rectified flow."
      })
  private @Nullable Name sampler;

  @Option(
      names = "--guidance",
      paramLabel = "W",
      description =
          "Classifier-free guidance: the answer is null + W (class - null). 1 is none (default),"
              + " more follows the class more closely, at twice the cost.")
  private double guidance = 1;

  @Option(
      names = "--spacing",
      paramLabel = "NAME",
      description =
          "Which of a network's time steps: leading, trailing, linspace, or karras for noise levels"
              + " dense at the clean end (default: leading for ddim and ddpm, linspace for euler"
              + " and dpmpp; trailing for one step, which starts at the noisiest).")
  private @Nullable String spacing;

  @Option(
      names = "--sigma-min",
      paramLabel = "S",
      description = "Smallest noise level of Karras' spacing (default: 0.002).")
  private @Nullable Double sigmaMin;

  @Option(
      names = "--sigma-max",
      paramLabel = "S",
      description = "Noise level that sampling starts from (default: the model's, else 80).")
  private @Nullable Double sigmaMax;

  @Option(
      names = "--rho",
      paramLabel = "R",
      description = "Exponent of Karras' spacing, more is denser at the clean end (default: 7).")
  private @Nullable Double rho;

  @Option(
      names = "--churn",
      paramLabel = "S",
      description = "heun: S_churn, noise added over the whole run (default: 0).")
  private @Nullable Double churn;

  @Option(
      names = "--churn-min",
      paramLabel = "S",
      description = "heun: churn from this noise level up (default: 0).")
  private @Nullable Double churnMin;

  @Option(
      names = "--churn-max",
      paramLabel = "S",
      description = "heun: churn up to this noise level (default: no limit).")
  private @Nullable Double churnMax;

  @Option(
      names = "--churn-noise",
      paramLabel = "S",
      description = "heun: S_noise, deviation of the added noise (default: 1).")
  private @Nullable Double churnNoise;

  @Option(
      names = "--eta",
      paramLabel = "E",
      description = "ddim: from 0, no noise on the way, to 1 (default: 0).")
  private @Nullable Double eta;

  @Option(
      names = "--variance",
      paramLabel = "small|large",
      description =
          "ddpm: of each draw; large is that of the forward step, as some networks were tuned for"
              + " (default: small).")
  private @Nullable String variance;

  @Option(
      names = "--shift",
      paramLabel = "S",
      description =
          "flow: how far times are pushed towards noise; 3 for large images (default: 1).")
  private @Nullable Double shift;

  @Option(
      names = "--clip",
      negatable = true,
      description =
          "ddim and ddpm: cut every estimate of the image to [-1, 1] (default: for networks with"
              + " time steps).")
  private @Nullable Boolean clip;

  /// A sampler for a model.
  ///
  /// @param steps wanted, null for what the model was made for
  /// @param seed of the noise added on the way
  /// @throws UsageException if the options do not fit together or to the model
  ImageSampler of(Backend backend, ModelFile model, @Nullable Integer steps, long seed) {
    Preconditioning network = model.denoiser().preconditioning();
    boolean asMade = sampler == null && steps == null && !model.levels().isEmpty();
    Name name = sampler != null ? sampler : asMade ? Name.LCM : usual(model);
    refuseForeign(name);
    if (asMade || name == Name.FLOW || name != Name.HEUN && timed(network)) {
      refuseLevels(name, network);
    }
    if (guidance != 1 && model.denoiser().network().classes() == 0) {
      throw new UsageException("--guidance: the model is unconditional, it has no classes");
    }
    if (!Double.isFinite(guidance)) {
      throw new UsageException("--guidance must be a number, got " + guidance);
    }
    try {
      int count = steps != null ? steps : usualSteps(name, model);
      Sampler made =
          asMade ? LcmSampler.of(model.levels()) : make(name, network, count, sigmas(model));
      return ImageSampler.of(backend, model.denoiser(), model.parameters(), made)
          .with(guidance, seed);
    } catch (IllegalArgumentException wrong) {
      throw new UsageException(String.valueOf(wrong.getMessage()));
    }
  }

  /// What starts from a noise level of its own is sampled from there, whatever its network.
  private static Name usual(ModelFile model) {
    if (model.oneStep() || model.metadata().containsKey(ModelFile.SIGMA_MAX)) {
      return Name.HEUN;
    }
    return switch (model.denoiser().preconditioning()) {
      case Preconditioning.Discrete _ -> Name.DDIM;
      case Preconditioning.Flow _ -> Name.FLOW;
      default -> Name.HEUN;
    };
  }

  private void refuseForeign(Name name) {
    refuse("--eta", eta, name, Name.DDIM);
    refuse("--spacing", spacing, name, Name.EULER, Name.DDIM, Name.DDPM, Name.DPMPP);
    refuse("--churn", churn, name, Name.HEUN);
    refuseChurn("--churn-min", churnMin, name);
    refuseChurn("--churn-max", churnMax, name);
    refuseChurn("--churn-noise", churnNoise, name);
    refuse("--variance", variance, name, Name.DDPM);
    if (variance != null && !List.of("small", "large").contains(variance)) {
      throw new UsageException("--variance must be small or large, got '%s'".formatted(variance));
    }
    refuse("--shift", shift, name, Name.FLOW);
    refuse("--clip", clip, name, Name.DDIM, Name.DDPM);
    if (shift != null && !(shift > 0 && Double.isFinite(shift))) {
      throw new UsageException("--shift must be above 0, got " + shift);
    }
  }

  private void refuseChurn(String option, @Nullable Double given, Name name) {
    refuse(option, given, name, Name.HEUN);
    if (given != null && churn == null) {
      throw new UsageException(option + " goes with --churn, which adds the noise");
    }
  }

  private static boolean timed(Preconditioning network) {
    return network instanceof Preconditioning.Discrete;
  }

  /// Options of Karras' noise levels where others are used.
  private void refuseLevels(Name name, Preconditioning network) {
    String steps = "; --sampler %s takes this model's own levels".formatted(name.text());
    if (sigmaMin != null || sigmaMax != null) {
      throw new UsageException(
          (sigmaMin != null ? "--sigma-min" : "--sigma-max") + " is for --sampler heun" + steps);
    }
    if (rho != null && !KARRAS.equals(spacing)) {
      String spaced = name != Name.LCM && timed(network) ? " or --spacing karras" : "";
      throw new UsageException("--rho is for --sampler heun" + spaced + steps);
    }
  }

  private static void refuse(String option, @Nullable Object given, Name name, Name... takers) {
    List<Name> all = Arrays.asList(takers);
    if (given != null && !all.contains(name)) {
      throw new UsageException(
          "%s is for --sampler %s, not %s"
              .formatted(
                  option, String.join(" or ", all.stream().map(Name::text).toList()), name.text()));
    }
  }

  private static int usualSteps(Name name, ModelFile model) {
    if (!model.metadata().containsKey(ModelFile.EVALUATIONS)) {
      return name.usualSteps;
    }
    double evaluations = number(model, ModelFile.EVALUATIONS, 1);
    double steps = name == Name.HEUN ? (evaluations + 1) / 2 : evaluations;
    return (int) Math.clamp(steps, 1, 1000);
  }

  private KarrasSigmas sigmas(ModelFile model) {
    KarrasSigmas edm = KarrasSigmas.EDM;
    double min = sigmaMin != null ? sigmaMin : edm.min();
    double max = sigmaMax != null ? sigmaMax : number(model, ModelFile.SIGMA_MAX, edm.max());
    return new KarrasSigmas(min, max, rho());
  }

  private double rho() {
    return rho == null ? KarrasSigmas.EDM.rho() : rho;
  }

  private Sampler make(Name name, Preconditioning network, int steps, KarrasSigmas sigmas) {
    return switch (name) {
      case HEUN ->
          new HeunSampler(
              sigmas,
              steps,
              churn == null ? 0 : churn,
              churnMin == null ? 0 : churnMin,
              churnMax == null ? Double.POSITIVE_INFINITY : churnMax,
              churnNoise == null ? 1 : churnNoise,
              network);
      case FLOW -> {
        if (!(network instanceof Preconditioning.Flow flow)) {
          throw new UsageException(
              "--sampler flow needs a network of rectified flow; for this one take heun, euler,"
                  + " ddim or dpmpp");
        }
        int times = flow.timeScale() > 1 ? (int) flow.timeScale() : 1000;
        yield DdimSampler.euler(Trajectory.flow(steps, shift == null ? 1 : shift, times));
      }
      case EULER, DDIM, DDPM, DPMPP, LCM ->
          network instanceof Preconditioning.Discrete discrete && !KARRAS.equals(spacing)
              ? discrete(name, discrete.schedule(), steps)
              : continuous(name, network, steps, sigmas);
    };
  }

  /// Over the time steps of a schedule.
  private Sampler discrete(Name name, BetaSchedule schedule, int steps) {
    boolean clipped = clip == null || clip;
    return switch (name) {
      case EULER ->
          DdimSampler.euler(Trajectory.sigmas(schedule, steps, spacing(Spacing.LINSPACE, steps)));
      case DDIM ->
          new DdimSampler(
              Trajectory.jumps(schedule, steps, spacing(Spacing.LEADING, steps)),
              amount(),
              clipped);
      case DDPM ->
          new DdpmSampler(
              Trajectory.discrete(schedule, steps, spacing(Spacing.LEADING, steps)),
              clipped,
              "large".equals(variance));
      case LCM ->
          LcmSampler.of(
              schedule,
              steps,
              Math.min(Math.max(DISTILLED_STEPS, steps), schedule.steps()),
              DISTILLED_SCALE);
      default ->
          new DpmSolverSampler(
              Trajectory.solver(schedule, steps, spacing(Spacing.LINSPACE, steps)));
    };
  }

  /// Over Karras' noise levels.
  private Sampler continuous(Name name, Preconditioning network, int steps, KarrasSigmas sigmas) {
    if (spacing != null && !KARRAS.equals(spacing)) {
      throw new UsageException(
          "--spacing %s is for networks with time steps; for this one it is karras"
              .formatted(spacing));
    }
    if (name == Name.DPMPP && network instanceof Preconditioning.Discrete discrete) {
      return new DpmSolverSampler(Trajectory.solverKarras(discrete.schedule(), steps, rho()));
    }
    boolean timed = timed(network);
    KarrasSigmas range = timed ? new KarrasSigmas(network.min(), network.max(), rho()) : sigmas;
    Trajectory exploding = Trajectory.karras(range, steps, network);
    boolean clipped = clip == null ? timed : clip;
    return switch (name) {
      case DDIM -> new DdimSampler(exploding.variancePreserving(), amount(), clipped);
      case DDPM ->
          new DdpmSampler(exploding.variancePreserving(), clipped, "large".equals(variance));
      case DPMPP -> new DpmSolverSampler(exploding.variancePreserving());
      case LCM -> new LcmSampler(exploding, DISTILLED_SCALE);
      default -> DdimSampler.euler(exploding);
    };
  }

  private double amount() {
    return eta == null ? 0 : eta;
  }

  private Spacing spacing(Spacing usual, int steps) {
    if (spacing == null) {
      return steps == 1 ? Spacing.TRAILING : usual;
    }
    for (Spacing each : Spacing.values()) {
      if (each.name().toLowerCase(Locale.ROOT).equals(spacing)) {
        return each;
      }
    }
    throw new UsageException(
        "--spacing must be leading, trailing, linspace or karras, got '%s'".formatted(spacing));
  }

  private static double number(ModelFile model, String key, double fallback) {
    String text = model.metadata().get(key);
    if (text == null) {
      return fallback;
    }
    try {
      double number = Double.parseDouble(text);
      if (number > 0 && number <= 1e6) {
        return number;
      }
    } catch (NumberFormatException e) {
      // said below
    }
    throw new CheckpointException(
        model.file(), "", "metadata %s must be a number above 0, got %s".formatted(key, text));
  }

  /// Names as the command line spells them.
  private static final class NameConverter implements ITypeConverter<Name> {
    @Override
    public Name convert(String text) {
      List<String> names = Arrays.stream(Name.values()).map(Name::text).toList();
      if (names.contains(text)) {
        return Name.values()[names.indexOf(text)];
      }
      throw new TypeConversionException(
          "must be one of %s, got \"%s\"; the nearest is %s"
              .formatted(String.join(", ", names), text, NearestName.of(text, names)));
    }
  }
}
