package io.retort.bench;

import io.retort.backend.CpuBackend;
import io.retort.backend.CudaBackend;
import io.retort.backend.CudaBinding;
import io.retort.backend.GemmPolicy;
import io.retort.backend.KernelProfile;
import io.retort.backend.MeasuredPeaks;
import io.retort.diffusion.Denoiser;
import io.retort.diffusion.HeunSampler;
import io.retort.diffusion.ImageSampler;
import io.retort.diffusion.KarrasSigmas;
import io.retort.diffusion.Sampler;
import io.retort.distill.AdamSpec;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.SongUNet;
import io.retort.op.Backend;
import io.retort.op.EdmLoss;
import io.retort.optim.Adam;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Retort's side of the steps of [StepBench]: what `Trainer` does in a step, without clipping.
///
/// Each precision has weights of its own, so that no row depends on another's updates.
public final class RetortStep implements StepWorker {
  private static final String LIBRARY = "library=";
  private static final int SAMPLING_STEPS = 18;
  private static final int PROFILED = 3;

  /// Small steps after which what Java does in one is compiled.
  private static final int WARM_UP = 300;

  private static final StepSpec SMALL = new StepSpec(1, 16, 16, 2);

  private final StepSpec spec;
  private final Backend backend;
  private final float[] clean;
  private final float[] noised;
  private final float[] sigma;
  private final Map<DType, Trained> trained = new HashMap<>();
  private final Map<DType, RetortDistillation> distilled = new HashMap<>();

  /// Weights in training.
  private record Trained(Denoiser denoiser, Parameters parameters, Adam adam) {}

  RetortStep(StepSpec spec, Backend backend) {
    this.spec = spec;
    this.backend = backend;
    clean = spec.clean();
    noised = spec.noised();
    sigma = spec.sigma();
  }

  static SongUNet network(StepSpec spec) {
    return new SongUNet(
        new SongUNet.Config(
            spec.resolution(),
            StepSpec.IMAGE_CHANNELS,
            0,
            spec.channels(),
            StepSpec.MULTIPLIERS,
            StepSpec.BLOCKS,
            List.of(StepSpec.ATTENTION),
            0,
            0));
  }

  static DType type(String row) {
    return row.endsWith("bf16") ? DType.BF16 : DType.F32;
  }

  /// @param arguments of [StepSpec#parse], `device=cuda` and `library=` a driver's path or
  ///   `emulator`; the number of threads is the library's own setting
  public static void main(String... arguments) throws IOException {
    try (RetortStep step = new RetortStep(StepSpec.parse(arguments), backend(arguments))) {
      StepWorker.serve(step);
    }
  }

  static Backend backend(String... arguments) {
    List<String> given = List.of(arguments);
    Optional<String> library = given.stream().filter(each -> each.startsWith(LIBRARY)).findFirst();
    return given.contains("device=cuda")
        ? CudaBackend.open(
            CudaBinding.PANAMA,
            library.map(l -> l.substring(LIBRARY.length())).orElse(null),
            GemmPolicy.AUTO)
        : CpuBackend.open();
  }

  /// Also the arithmetic of a forward pass, a training step and a distillation step, the machine's
  /// peaks, and what share of a step Java spends outside kernels; these on the processor only.
  @Override
  public Map<String, String> facts() {
    Map<String, String> facts = new HashMap<>();
    facts.put("engine", "retort " + backend.name());
    facts.put("parameters", Long.toString(trained(DType.F32).parameters().count()));
    if (backend instanceof CpuBackend) {
      MeasuredPeaks peaks = MeasuredPeaks.of(backend);
      facts.put("peak_fp32", Double.toString(peaks.float32()));
      facts.put("peak_bf16", Double.toString(peaks.bfloat16()));
      for (String row : List.of("unet_forward_bf16", "unet_train_bf16", "distill_bf16")) {
        profile(row, facts);
      }
    }
    return facts;
  }

  private void profile(String row, Map<String, String> facts) {
    var profile = new KernelProfile(backend);
    try (var step = new RetortStep(spec, profile.backend())) {
      warmUp(profile.backend(), row);
      step.run(row, false);
      profile.clear();
      long started = System.nanoTime();
      for (int i = 0; i < PROFILED; i++) {
        step.run(row, false);
      }
      double seconds = (System.nanoTime() - started) / 1e9 - profile.ownSeconds();
      double inKernels = profile.rows().stream().mapToDouble(KernelProfile.Row::seconds).sum();
      double flops = profile.rows().stream().mapToDouble(KernelProfile.Row::flops).sum();
      facts.put("flops_" + row.replace("_bf16", ""), Double.toString(flops / PROFILED));
      facts.put("outside_" + row, Double.toString(1 - inKernels / seconds));
    }
  }

  /// Takes steps of the same ops on a tiny network until the virtual machine has compiled what it
  /// does between kernels, as it has after the first minute of a training run.
  static void warmUp(Backend backend, String row) {
    try (var small = new RetortStep(SMALL, backend)) {
      for (int i = 0; i < WARM_UP; i++) {
        small.run(row, false);
      }
    }
  }

  @Override
  public List<String> rows() {
    return BenchRow.STEPS.rows().stream().map(BenchRow::name).toList();
  }

  @Override
  public double run(String row, boolean check) {
    DType type = type(row);
    return switch (row.substring(0, row.lastIndexOf('_'))) {
      case "unet_forward" -> forward(trained(type));
      case "unet_train" -> train(trained(type));
      case "distill" ->
          distilled
              .computeIfAbsent(type, precision -> new RetortDistillation(spec, backend, precision))
              .step(check);
      case "sample" -> sample(trained(type));
      default -> throw new IllegalArgumentException("steps: no row " + row);
    };
  }

  private Trained trained(DType type) {
    return trained.computeIfAbsent(
        type,
        precision -> {
          SongUNet network = network(spec);
          Parameters parameters = HashedWeights.of(network, 0, backend.memory());
          var adam = new AdamSpec(StepSpec.LEARNING_RATE, 0.9, 0.999, 1e-8, 0, 0, 0, 0);
          return new Trained(
              new Denoiser(network, StepSpec.SIGMA_DATA).in(precision),
              parameters,
              new Adam(parameters, adam));
        });
  }

  private double forward(Trained net) {
    try (Scope scope = new Scope(backend.memory())) {
      return meanSquare(denoised(net, Tape.inference(backend, scope)).value().floats());
    }
  }

  static double meanSquare(float[] values) {
    double sum = 0;
    for (float value : values) {
      sum += (double) value * value;
    }
    return sum / values.length;
  }

  private double train(Trained net) {
    double value;
    try (Scope scope = new Scope(backend.memory())) {
      net.parameters().zeroGradients();
      Tape tape = new Tape(backend, scope, Set.of(net.parameters()));
      Var loss =
          tape.apply(
              new EdmLoss(StepSpec.SIGMA_DATA, EdmLoss.Pixels.MEAN),
              denoised(net, tape),
              tape.constant(net.denoiser().images(spec.batch()), clean),
              tape.constant(Shape.of(spec.batch()), sigma));
      value = loss.item();
      tape.backward(loss);
    }
    net.adam().update(backend, StepSpec.LEARNING_RATE, null, 0);
    return value;
  }

  private Var denoised(Trained net, Tape tape) {
    Var x = tape.constant(net.denoiser().images(spec.batch()), noised);
    return net.denoiser().denoise(tape, net.parameters(), x, sigma, null, null);
  }

  private double sample(Trained net) {
    Sampler heun =
        HeunSampler.deterministic(
            KarrasSigmas.EDM, SAMPLING_STEPS, net.denoiser().preconditioning());
    var sampler =
        new ImageSampler(backend, net.denoiser(), net.parameters(), heun, 1, 0, spec.batch());
    return meanSquare(sampler.sample(spec.noise(0), null, done -> {}));
  }

  @Override
  public void close() {
    trained
        .values()
        .forEach(net -> {
          net.adam().close();
          net.parameters().close();
        });
    distilled.values().forEach(RetortDistillation::close);
  }
}
