package io.retort.bench.libtorch;

import io.retort.bench.BenchRow;
import io.retort.bench.StepSpec;
import io.retort.bench.StepWorker;
import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.bytedeco.javacpp.BoolPointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.LongArrayRefOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.MemoryFormat;

/// libtorch's side of the single convolutions of the op benchmark, in float32.
public final class TorchConvolutions implements StepWorker {
  private static final int BATCH = 32;
  private static final long[] ONE = {1, 1};
  private static final long[] ZERO = {0, 0};

  private final String version;
  private final MemoryFormat format;
  private final Map<String, Supplier<Tensor>> prepared = new HashMap<>();

  private TorchConvolutions(String version, int threads, MemoryFormat format) {
    this.version = version;
    this.format = format;
    torch.set_num_threads(threads);
  }

  public static void main(String... arguments) throws IOException {
    StepWorker.serve(
        new TorchConvolutions(
            Loader.getVersion("org.bytedeco", "pytorch"),
            StepSpec.parse(arguments).threads(),
            TorchStep.format(arguments)));
  }

  @Override
  public Map<String, String> facts() {
    return Map.of("engine", "libtorch " + version, "parameters", "0");
  }

  @Override
  public List<String> rows() {
    return BenchRow.OPS.rows().stream()
        .map(BenchRow::name)
        .filter(name -> name.startsWith("conv_") && name.endsWith("_fp32"))
        .toList();
  }

  @Override
  public double run(String row, boolean check) {
    Supplier<Tensor> work = prepared.computeIfAbsent(row, this::prepare);
    try (PointerScope _ = new PointerScope();
        AutoGradMode _ = new AutoGradMode(false)) {
      Tensor result = work.get();
      return check ? result.square().mean().item_double() : 0;
    }
  }

  /// `conv_<channels>_<side>_<pass>_fp32`: 3x3, as many channels out as in, 32 images.
  private Supplier<Tensor> prepare(String row) {
    String[] words = row.split("_");
    int channels = Integer.parseInt(words[1]);
    int side = Integer.parseInt(words[2]);
    Tensor x = images(0, side, channels);
    Tensor weight = hashed(1, channels, channels, 3, 3).contiguous(format);
    Tensor gradOut = images(2, side, channels);
    var none = new TensorOptional();
    return switch (words[3]) {
      case "forward" -> () -> torch.convolution(x, weight, none, ONE, ONE, ONE, false, ZERO, 1);
      case "data" -> gradient(gradOut, x, weight, true);
      default -> gradient(gradOut, x, weight, false);
    };
  }

  private static Supplier<Tensor> gradient(Tensor gradOut, Tensor x, Tensor weight, boolean data) {
    var none = new LongArrayRefOptional();
    BoolPointer wanted = new BoolPointer(3).put(0, data).put(1, !data).put(2, false);
    return () -> {
      var gradients =
          torch.convolution_backward(
              gradOut, x, weight, none, ONE, ONE, ONE, false, ZERO, 1, wanted);
      return data ? gradients.get0() : gradients.get1();
    };
  }

  /// `(N, C, H, W)` in the wanted layout, of numbers in the order of `(N, H, W, C)`.
  private Tensor images(int stream, int side, int channels) {
    return hashed(stream, BATCH, side, side, channels).permute(0, 3, 1, 2).contiguous(format);
  }

  private static Tensor hashed(int stream, long... extents) {
    int count = 1;
    for (long extent : extents) {
      count *= Math.toIntExact(extent);
    }
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) StepSpec.uniform(stream, i);
    }
    return Tensor.create(values, extents);
  }
}
