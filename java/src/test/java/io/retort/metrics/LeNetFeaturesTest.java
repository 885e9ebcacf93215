package io.retort.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.backend.CpuBackend;
import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.SafetensorsWriter;
import io.retort.net.LeNet;
import io.retort.op.Backend;
import io.retort.tensor.Shape;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LeNetFeaturesTest {
  @TempDir private Path directory;
  private final Backend backend = CpuBackend.open();

  /// A file of ones in the shapes of a network for 16x16 grey images, but for one.
  private Path file(String changed, long... shape) {
    Map<String, long[]> shapes = new LinkedHashMap<>();
    new LeNet(16, 1, 3).plan().shapes().forEach((name, s) -> shapes.put(name, s.dims()));
    shapes.put("feature_deviation", new long[] {LeNet.FEATURES});
    assertThat(shapes).containsKey(changed);
    shapes.put(changed, shape);
    SafetensorsWriter writer = new SafetensorsWriter();
    shapes.forEach((name, dims) -> {
      var values = new float[(int) Shape.of(dims).elements()];
      Arrays.fill(values, 1);
      writer.floats(name, dims, () -> values);
    });
    Path file = directory.resolve("lenet.safetensors");
    writer.write(file);
    return file;
  }

  @Test
  void takesTheSizesFromTheWeights() {
    Path file = file("feature_deviation", LeNet.FEATURES);
    try (LeNetFeatures features = LeNetFeatures.load(backend, file, "ones")) {
      assertThat(features.classes()).isEqualTo(3);
      assertThat(features.features(new byte[2 * 256], 2)).hasDimensions(2, LeNet.FEATURES);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "conv1.weight, 25",
    "fc2.weight, 3",
    "fc1.weight, 8192",
    "fc1.weight, 128 0",
    "fc1.weight, 128 70000",
    "fc1.weight, 128 65000",
    "conv2.weight, 64",
    "feature_deviation, 127",
    "feature_deviation, 128 1",
  })
  void otherShapesAreRefusedInOneSentence(String tensor, String shape) {
    long[] dims = Arrays.stream(shape.split(" ")).mapToLong(Long::parseLong).toArray();
    Path file = file(tensor, dims);
    long before = backend.memory().liveBlocks();
    assertThatThrownBy(() -> LeNetFeatures.load(backend, file, "damaged"))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(file + ": tensor \"" + tensor + "\": ");
    assertThat(backend.memory().liveBlocks()).isEqualTo(before);
  }
}
