package io.retort.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.backend.CpuBackend;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class SafetensorsShardsTest {
  @TempDir Path directory;
  private Path index;

  @BeforeEach
  void shards() {
    index = directory.resolve("model.safetensors.index.json");
    new SafetensorsWriter()
        .metadata("format", "pt")
        .floats("a", new long[] {2}, () -> new float[] {1, 2})
        .write(directory.resolve("model-00001-of-00002.safetensors"));
    new SafetensorsWriter()
        .floats("b", new long[] {1}, () -> new float[] {3})
        .floats("c", new long[] {0, 4}, () -> new float[0])
        .write(directory.resolve("model-00002-of-00002.safetensors"));
  }

  private Path write(String weights) throws Exception {
    return Files.writeString(
        index, "{\"metadata\": {\"total_size\": 12}, \"weight_map\": {%s}}".formatted(weights));
  }

  private static final String FIRST = "model-00001-of-00002.safetensors";
  private static final String SECOND = "model-00002-of-00002.safetensors";

  @Test
  void readsEveryTensorFromItsShard() throws Exception {
    write("\"a\": \"%s\", \"b\": \"%s\", \"c\": \"%s\"".formatted(FIRST, SECOND, SECOND));
    try (TensorFile file = TensorFile.open(index)) {
      assertThat(file).isInstanceOf(SafetensorsShards.class);
      assertThat(file.entries()).extracting(TensorEntry::name).containsExactly("a", "b", "c");
      assertThat(file.floats("a")).containsExactly(1, 2);
      assertThat(file.floats("b")).containsExactly(3);
      assertThat(file.contains("d")).isFalse();
      assertThat(file.metadata()).containsEntry("total_size", "12").containsEntry("format", "pt");
    }
  }

  @Test
  void refusesAnIndexThatDoesNotFitItsShards() throws Exception {
    write("\"a\": \"%s\", \"b\": \"%s\"".formatted(FIRST, SECOND));
    assertThatThrownBy(() -> TensorFile.open(index).close())
        .hasMessageEndingWith("tensor \"c\": is not what the index says is in this shard");
    write("\"a\": \"%s\", \"d\": \"%s\"".formatted(FIRST, SECOND));
    assertThatThrownBy(() -> TensorFile.open(index).close())
        .hasMessageEndingWith("tensor \"d\": is not in this file");
    write("\"a\": \"model-00003-of-00003.safetensors\"");
    assertThatThrownBy(() -> TensorFile.open(index).close())
        .hasMessageEndingWith("model-00003-of-00003.safetensors: no such file or directory");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "\"../secret.safetensors\"",
        "\"/etc/passwd\"",
        "\"a\\\\b.safetensors\"",
        "\"\"",
        "\".hidden\"",
        "7",
        "null",
        "[\"x\"]"
      })
  void aShardIsAFileBesideTheIndex(String shard) throws Exception {
    write("\"a\": " + shard);
    assertThatThrownBy(() -> TensorFile.open(index).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("a shard must be the name of a file beside the index");
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "[]", "{}", "{\"weight_map\": []}", "{\"weight_map\": {"})
  void refusesWhatIsNoIndex(String text) throws Exception {
    Files.writeString(index, text);
    assertThatThrownBy(() -> TensorFile.open(index).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(index + ": ");
  }

  /// Weights are loaded from any float type; F32 keeps every bit.
  @Test
  void loadsEveryFloatTypeIntoTensors() {
    Path file = directory.resolve("types.safetensors");
    ByteBuffer halves = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN);
    halves.asShortBuffer().put(new short[] {0x3c00, (short) 0xc100});
    ByteBuffer brains = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN);
    brains.asShortBuffer().put(new short[] {0x3f80, (short) 0xc020});
    var exact = new float[] {0x1.fffffep-127f, -0f};
    new SafetensorsWriter()
        .floats("f32", new long[] {2}, () -> exact)
        .doubles("f64", new long[] {2}, () -> new double[] {1, -2.5})
        .raw("f16", StorageType.F16, new long[] {2}, () -> halves)
        .raw("bf16", StorageType.BF16, new long[] {2}, () -> brains)
        .floats("nan", new long[] {2}, () -> new float[] {0, Float.NaN})
        .longs("i64", new long[] {2}, () -> new long[2])
        .write(file);
    try (TensorFile opened = TensorFile.open(file);
        Scope scope = new Scope(CpuBackend.open().memory())) {
      Tensor target = scope.allocate(Shape.of(2));
      for (String type : new String[] {"f64", "f16", "bf16"}) {
        Weights.copy(opened, type, target);
        assertThat(target.floats()).containsExactly(1, -2.5f);
      }
      Weights.copy(opened, "f32", target);
      assertThat(target.floats()).containsExactly(exact);
      assertThatThrownBy(() -> Weights.copy(opened, "nan", target))
          .hasMessageEndingWith("tensor \"nan\": holds a value that is not finite");
      assertThatThrownBy(() -> Weights.copy(opened, "i64", target))
          .hasMessageEndingWith("dtype must be F32, F16, BF16 or F64, got I64");
    }
  }
}
