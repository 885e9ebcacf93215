package io.retort.bench.libtorch;

import io.retort.bench.StepSpec;
import io.retort.bench.StepWorker;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.MemoryFormat;

/// libtorch's side of the step benchmark.
public final class TorchStep implements StepWorker {
  private static final String FORWARD = "unet_forward_fp32";
  private static final String TRAIN = "unet_train_fp32";

  private final String version;
  private final TorchWeights weights;
  private final TorchUNet network;
  private final FusedAdam adam;
  private final Tensor clean;
  private final Tensor noised;
  private final Tensor sigma;

  private TorchStep(String version, StepSpec spec, MemoryFormat format) {
    this.version = version;
    torch.set_num_threads(spec.threads());
    weights = new TorchWeights(format);
    network = new TorchUNet(spec, weights);
    adam = new FusedAdam(weights.all(), StepSpec.LEARNING_RATE);
    clean = images(spec, spec.clean(), format);
    noised = images(spec, spec.noised(), format);
    sigma = Tensor.create(spec.sigma());
  }

  private static Tensor images(StepSpec spec, float[] values, MemoryFormat format) {
    return Tensor.create(
            values, spec.batch(), spec.resolution(), spec.resolution(), StepSpec.IMAGE_CHANNELS)
        .permute(0, 3, 1, 2)
        .contiguous(format);
  }

  /// @param arguments of [StepSpec#parse]; `channels_last` for that layout instead of PyTorch's
  ///   default
  public static void main(String... arguments) throws IOException {
    StepWorker.serve(
        new TorchStep(
            Loader.getVersion("org.bytedeco", "pytorch"),
            StepSpec.parse(arguments),
            format(arguments)));
  }

  static MemoryFormat format(String... arguments) {
    return List.of(arguments).contains("channels_last")
        ? MemoryFormat.ChannelsLast
        : MemoryFormat.Contiguous;
  }

  @Override
  public Map<String, String> facts() {
    return Map.of("engine", "libtorch " + version, "parameters", Long.toString(weights.count()));
  }

  @Override
  public List<String> rows() {
    return List.of(FORWARD, TRAIN);
  }

  @Override
  public double run(String row, boolean check) {
    try (PointerScope _ = new PointerScope()) {
      return row.equals(FORWARD) ? forward() : train();
    }
  }

  private double forward() {
    try (AutoGradMode _ = new AutoGradMode(false)) {
      return network.denoise(noised, sigma).square().mean().item_double();
    }
  }

  /// EDM's denoising loss, averaged over pixels. Source: EDM, eq. 8 and table 1.
  private double train() {
    double variance = StepSpec.SIGMA_DATA * StepSpec.SIGMA_DATA;
    Tensor weight =
        sigma
            .square()
            .add(scalar(variance))
            .div(sigma.mul(scalar(StepSpec.SIGMA_DATA)).square())
            .reshape(-1, 1, 1, 1);
    Tensor loss = network.denoise(noised, sigma).sub(clean).square().mul(weight).mean();
    loss.backward();
    double value = loss.item_double();
    try (AutoGradMode _ = new AutoGradMode(false)) {
      adam.step();
    }
    return value;
  }

  private static Scalar scalar(double value) {
    return new Scalar(value);
  }
}
