package io.retort.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.checkpoint.OnnxConstant.Type;
import io.retort.checkpoint.OnnxGraph.Port;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// The bytes of `.onnx` files.
class OnnxFileTest {
  @TempDir private Path folder;

  /// A graph that adds a weight to its input.
  private static OnnxGraph graph(long size) {
    OnnxGraph graph = new OnnxGraph(17);
    String x = graph.input(new Port("x", Type.FLOAT, List.of("batch", size), "anything"));
    String weight = graph.weight("w", List.of(size), () -> new float[] {1.5f, -2});
    graph.last("y", "Add", List.of(x, weight));
    graph.output(new Port("y", Type.FLOAT, List.of("batch", size), ""));
    return graph;
  }

  @Test
  void fieldsAreThoseOfTheWireFormat() {
    assertThat(new ProtoWriter().whole(1, 300).bytes()).containsExactly(0x08, 0xAC, 0x02);
    assertThat(new ProtoWriter().whole(3, -1).bytes())
        .containsExactly(0x18, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1);
    assertThat(new ProtoWriter().real(2, 1).bytes()).containsExactly(0x15, 0, 0, 0x80, 0x3F);
    assertThat(new ProtoWriter().text(14, "é").bytes()).containsExactly(0x72, 2, 0xC3, 0xA9);
    assertThat(new ProtoWriter().message(7, new ProtoWriter().whole(1, 1)).bytes())
        .containsExactly(0x3A, 2, 0x08, 1);
    assertThat(new ProtoWriter().open(16, 128).bytes()).containsExactly(0x82, 0x01, 0x80, 0x01);
  }

  @Test
  void aGraphIsRunAndItsMetadataRead() {
    Path file = folder.resolve("add.onnx");
    long bytes = OnnxFile.write(file, graph(2), "adds", Map.of("maker", "a test"));
    assertThat(file).hasSize(bytes);
    try (OrtModel ort = new OrtModel(file)) {
      assertThat(ort.set("x", new float[] {1, 2, 3, 4}, 2, 2).run())
          .containsExactly(2.5f, 0, 4.5f, 2);
      assertThat(ort.described()).contains("{maker=a test}");
    }
  }

  @Test
  void aModelBeyondTheFormatsLimitIsRefusedBeforeAByteIsWritten() {
    Path file = folder.resolve("large.onnx");
    assertThatThrownBy(() -> OnnxFile.write(file, graph(600_000_000), "", Map.of()))
        .isInstanceOf(CheckpointException.class)
        .hasMessageEndingWith(
            "large.onnx: the model needs 2.4 GB, an .onnx file holds at most 2.1; export it with"
                + " --format safetensors");
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void aFailureLeavesTheFormerFile() throws Exception {
    Path file = Files.writeString(folder.resolve("former.onnx"), "former");
    OnnxGraph graph = new OnnxGraph(17);
    graph.weight(
        "w",
        List.of(2L),
        () -> {
          throw new IllegalStateException("no values");
        });
    assertThatThrownBy(() -> OnnxFile.write(file, graph, "", Map.of()))
        .isInstanceOf(IllegalStateException.class);
    assertThat(file).hasContent("former");
    assertThat(folder.toFile().list()).containsExactly("former.onnx");
  }
}
