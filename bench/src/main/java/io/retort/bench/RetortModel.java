package io.retort.bench;

import io.retort.backend.CpuBackend;
import io.retort.diffusion.Denoiser;
import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.net.SongUNet;
import io.retort.op.Backend;
import io.retort.tensor.Scope;
import java.io.IOException;
import java.util.List;
import java.util.Map;

/// Retort's side of [BenchRow#MODELS]: `denoise` of the network that EDM trains on CIFAR-10,
/// without classes and augmentation, from weights that lie in memory once for both precisions.
public final class RetortModel implements StepWorker {
  private static final SongUNet.Config EDM =
      new SongUNet.Config(
          32, StepSpec.IMAGE_CHANNELS, 0, 128, List.of(2, 2, 2), 4, List.of(16), 0, 0);

  private final StepSpec spec;
  private final Backend backend;
  private final Denoiser denoiser = new Denoiser(new SongUNet(EDM), StepSpec.SIGMA_DATA);
  private final Parameters parameters;

  RetortModel(StepSpec spec, Backend backend) {
    if (spec.resolution() != EDM.resolution()) {
      throw new IllegalArgumentException("models: resolution must be " + EDM.resolution());
    }
    this.spec = spec;
    this.backend = backend;
    parameters = HashedWeights.of(denoiser.network(), 0, backend.memory());
  }

  /// @param arguments of [StepSpec#parse]; the width is that of the network
  public static void main(String... arguments) throws IOException {
    try (RetortModel model = new RetortModel(StepSpec.parse(arguments), CpuBackend.open())) {
      StepWorker.serve(model);
    }
  }

  @Override
  public Map<String, String> facts() {
    return Map.of(
        "engine", "retort " + backend.name(), "parameters", Long.toString(parameters.count()));
  }

  @Override
  public List<String> rows() {
    return BenchRow.MODELS.rows().stream().map(BenchRow::name).toList();
  }

  @Override
  public double run(String row, boolean check) {
    Denoiser net = denoiser.in(RetortStep.type(row));
    try (Scope scope = new Scope(backend.memory())) {
      Tape tape = Tape.inference(backend, scope);
      Var x = tape.constant(net.images(spec.batch()), spec.noised());
      Var denoised = net.denoise(tape, parameters, x, spec.sigma(), null, null);
      return RetortStep.meanSquare(denoised.value().floats());
    }
  }

  @Override
  public void close() {
    parameters.close();
  }
}
