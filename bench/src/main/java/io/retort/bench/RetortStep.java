package io.retort.bench;

import io.retort.backend.CpuBackend;
import io.retort.backend.CudaBackend;
import io.retort.backend.CudaBinding;
import io.retort.diffusion.Denoiser;
import io.retort.grad.Parameter;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.SongUNet;
import io.retort.nn.Plan;
import io.retort.op.Backend;
import io.retort.op.EdmLoss;
import io.retort.optim.Adam;
import io.retort.optim.AdamSpec;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Retort's side of [StepBench]: what `Trainer` does in a step of plain teacher training, without
/// clipping and average.
public final class RetortStep implements StepWorker, AutoCloseable {
  private static final String LIBRARY = "library=";

  private final StepSpec spec;
  private final Backend backend;
  private final Denoiser denoiser;
  private final Parameters parameters;
  private final Adam adam;
  private final float[] clean;
  private final float[] noised;
  private final float[] sigma;

  RetortStep(StepSpec spec, Backend backend) {
    this.spec = spec;
    this.backend = backend;
    SongUNet network = network(spec);
    denoiser = new Denoiser(network, StepSpec.SIGMA_DATA);
    Plan plan = new Plan();
    network.declare(plan);
    parameters = plan.allocate(backend.memory());
    int index = 0;
    for (Parameter parameter : parameters.all()) {
      boolean norm = parameter.name().matches(".*norm[0-9]*\\.weight");
      parameter.value().set(StepSpec.parameter(index++, norm, parameter.shape().dims()));
    }
    adam = new Adam(parameters, new AdamSpec(StepSpec.LEARNING_RATE, 0.9, 0.999, 1e-8, 0, 0, 0, 0));
    clean = spec.clean();
    noised = spec.noised();
    sigma = spec.sigma();
  }

  private static SongUNet network(StepSpec spec) {
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

  /// @param arguments of [StepSpec#parse], `device=cuda` and `library=` a driver's path or
  ///   `emulator`; the number of threads is the library's own setting
  public static void main(String... arguments) throws IOException {
    List<String> given = List.of(arguments);
    Optional<String> library = given.stream().filter(each -> each.startsWith(LIBRARY)).findFirst();
    Backend backend =
        given.contains("device=cuda")
            ? CudaBackend.open(
                CudaBinding.PANAMA, library.map(l -> l.substring(LIBRARY.length())).orElse(null))
            : CpuBackend.open();
    try (RetortStep step = new RetortStep(StepSpec.parse(arguments), backend)) {
      StepWorker.serve(step);
    }
  }

  @Override
  public Map<String, String> facts() {
    return Map.of(
        "engine", "retort " + backend.name(), "parameters", Long.toString(parameters.count()));
  }

  @Override
  public double step(Kind kind) {
    return kind == Kind.FORWARD ? forward() : train();
  }

  private double forward() {
    try (Scope scope = new Scope(backend.memory())) {
      float[] denoised = denoised(Tape.inference(backend, scope)).value().floats();
      double sum = 0;
      for (float value : denoised) {
        sum += (double) value * value;
      }
      return sum / denoised.length;
    }
  }

  private double train() {
    double value;
    try (Scope scope = new Scope(backend.memory())) {
      parameters.zeroGradients();
      Tape tape = new Tape(backend, scope, Set.of(parameters));
      Var loss =
          tape.apply(
              new EdmLoss(StepSpec.SIGMA_DATA, EdmLoss.Pixels.MEAN),
              denoised(tape),
              tape.constant(denoiser.images(spec.batch()), clean),
              tape.constant(Shape.of(spec.batch()), sigma));
      value = loss.item();
      tape.backward(loss);
    }
    adam.update(backend, StepSpec.LEARNING_RATE, null, 0);
    return value;
  }

  private Var denoised(Tape tape) {
    Var x = tape.constant(denoiser.images(spec.batch()), noised);
    return denoiser.denoise(tape, parameters, x, sigma, null, null);
  }

  @Override
  public void close() {
    adam.close();
    parameters.close();
  }
}
