package io.retort.cli;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.SafetensorsWriter;
import io.retort.checkpoint.TensorFile;
import io.retort.data.Pictures;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class InspectCommandTest {
  @TempDir private Path folder;

  static Stream<Path> crafted() throws IOException {
    try (Stream<Path> files = Files.list(Call.resource("/golden/safetensors_cases"))) {
      return files.filter(file -> file.toString().endsWith(".safetensors")).toList().stream();
    }
  }

  @ParameterizedTest
  @MethodSource("crafted")
  void craftedFilesAreListedOrRefusedInOneSentence(Path file) {
    Call call = Call.of("inspect", file);
    if (call.status() == ExitStatus.SUCCESS) {
      assertThat(call.out()).contains(" tensors, ");
    } else {
      call.refused(ExitStatus.FAILURE, file.getFileName().toString());
    }
  }

  @Test
  void tensorsAndMetadataAreListed() {
    Path file = folder.resolve("m.safetensors");
    new SafetensorsWriter()
        .metadata("note", "hello")
        .floats("layer.weight", new long[] {2, 3}, () -> new float[6])
        .longs("step", new long[] {}, () -> new long[] {7})
        .write(file);
    Map<?, ?> json = Call.of("inspect", file, "--json").json();
    assertThat(json.get("metadata")).isEqualTo(Map.of("note", "hello"));
    assertThat(json.get("bytes")).isEqualTo(32L);
    assertThat((List<?>) json.get("tensors")).hasSize(2);
    assertThat(json.get("tensors").toString())
        .contains("{name=layer.weight, dtype=F32, shape=[2, 3], bytes=24}");
    assertThat(Call.of("inspect", file).out())
        .contains("layer.weight  F32    (2, 3)", "note", "hello", "2 tensors, 7 elements, 32 B");
  }

  /// In the middle of its output `inspect` holds what an opened file holds, and no listing: one
  /// would be as large as the file.
  @ParameterizedTest
  @ValueSource(strings = {"--json", "--debug"})
  void aListingOfManyTensorsIsNeverHeldAsAWhole(String option) throws IOException {
    Path file = manyTensors(200_000);
    Call.of("inspect", Call.resource("/golden/pt_sample.pt"), option).succeeded();
    long before = liveBytes();
    long held;
    try (TensorFile opened = TensorFile.open(file)) {
      held = liveBytes() - before;
      assertThat(opened.entries()).hasSize(200_000);
    }
    var printed = new LiveAt(5_000_000);
    var console = new Console(new PrintStream(printed, false, UTF_8), System.err, false);
    assertThat(Main.run(console, "inspect", file.toString(), option)).isZero();
    assertThat(printed.seen).isGreaterThan(8_000_000);
    assertThat(printed.live - before).isLessThan(held + Files.size(file) / 8);
  }

  private static long liveBytes() {
    System.gc();
    return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
  }

  /// Takes the live bytes of the heap when so many bytes have been printed.
  private static final class LiveAt extends OutputStream {
    private final int when;
    private long seen;
    private long live;

    LiveAt(int when) {
      this.when = when;
    }

    @Override
    public void write(int value) {
      write(new byte[] {(byte) value}, 0, 1);
    }

    @Override
    public void write(byte[] bytes, int offset, int count) {
      seen += count;
      if (seen >= when && live == 0) {
        live = liveBytes();
      }
    }
  }

  private Path manyTensors(int count) throws IOException {
    var header = new StringBuilder("{");
    for (int i = 0; i < count; i++) {
      header.append(i == 0 ? "\"" : ",\"").append("layers.").append(i);
      header.append(".weight\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[");
      header.append(i).append(',').append(i + 1).append("]}");
    }
    byte[] json = header.append('}').toString().getBytes(UTF_8);
    return Files.write(
        folder.resolve("many.safetensors"),
        ByteBuffer.allocate(8 + json.length + count)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(json.length)
            .put(json)
            .array());
  }

  @Test
  void aFolderIsWhatItsWeightsAreWhateverTheirName() throws IOException {
    Path pickled = Call.resource("/golden/pt_sample.pt");
    Files.copy(pickled, folder.resolve("model.pt"));
    assertThat(Call.of("inspect", folder).succeeded().out())
        .isEqualTo(Call.of("inspect", pickled).succeeded().out());
    new SafetensorsWriter()
        .floats("layer.weight", new long[] {2, 3}, () -> new float[6])
        .write(folder.resolve("model.safetensors"));
    assertThat(Call.of("inspect", folder).succeeded().out())
        .contains("layer.weight  F32    (2, 3)", "1 tensors, 6 elements");
  }

  @Test
  void namesCannotReachTheTerminal() {
    Path file = folder.resolve("m.safetensors");
    new SafetensorsWriter()
        .metadata("\033[2J", "a\nb\u202e")
        .floats("x\033]0;t\007", new long[] {1}, () -> new float[1])
        .write(file);
    assertThat(Call.of("inspect", file).succeeded().out())
        .doesNotContain("\033", "\007", "\u202e")
        .contains("x?]0;t?");
  }

  @Test
  void arraysAreListed() {
    Path file = folder.resolve("a.npy");
    NpyFile.write(file, new double[6], 2, 3);
    assertThat(Call.of("inspect", file).succeeded().out()).contains("f8", "(2, 3)", "48");
  }

  @Test
  void pyTorchFilesAreListedAndPicklesConverted() throws IOException {
    Path file = Call.resource("/golden/pt_sample.pt");
    assertThat(Call.of("inspect", file).succeeded().out())
        .contains("conv.weight  F32", "(2, 4)", "BF16", "4 tensors");
    Path snapshot = Files.write(folder.resolve("network-snapshot.pkl"), new byte[] {-128, 4, '.'});
    Call refused = Call.of("inspect", snapshot);
    assertThat(refused.status()).isEqualTo(ExitStatus.FAILURE);
    assertThat(refused.err().lines()).hasSize(7);
    assertThat(refused.err()).contains("import json, pickle", "save_file(", "init_kwargs");
  }

  @Test
  void numpyArchivesAreListed() {
    assertThat(Call.of("inspect", Call.resource("/golden/fidref.npz")).succeeded().out())
        .contains("mu", "(4)", "sigma", "(4, 4)", "2 tensors, 20 elements, 160 B");
  }

  @Test
  void dataSetsPicturesAndIdxFilesAreListed() throws IOException {
    Path zip = Pictures.edmZip(folder.resolve("set.zip"), 20, 8, 3, 5);
    assertThat(Call.of("inspect", zip, "--json").json().get("classes")).isEqualTo(5L);
    assertThat(Call.of("inspect", zip).succeeded().out()).contains("8x8x3", "18 pictures to learn");
    Path png = Files.write(folder.resolve("x.png"), Pictures.png(3, 7, 1, 1));
    assertThat(Call.of("inspect", png, "--json").json().get("width")).isEqualTo(7L);
    byte[] idx = {0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 5, 6};
    assertThat(Call.of("inspect", Files.write(folder.resolve("idx2-ubyte"), idx)).out())
        .contains("u8", "(1, 2)");
  }

  @Test
  void eventsAreListedByTag() throws IOException {
    Path file = folder.resolve("events.out.tfevents.1.host");
    Files.copy(Call.resource("/golden/sample.tfevents"), file);
    Map<?, ?> json = Call.of("inspect", file, "--json").json();
    assertThat(json.get("version")).isEqualTo("brain.Event:2");
    assertThat(json.get("tags").toString())
        .contains("tag=loss/g, kind=scalar, values=1, first_step=3, last_step=3, last_value=0.5");
    assertThat(Call.of("inspect", file).succeeded().out()).contains("grid", "image", "histogram");
  }

  @Test
  void onnxFilesAreListed() {
    Path file = Call.resource("/golden/block_adm_attn2_opset17.onnx");
    Map<?, ?> json = Call.of("inspect", file, "--json").json();
    assertThat(json.get("opset")).isEqualTo(17L);
    assertThat((List<?>) json.get("inputs"))
        .isNotEmpty()
        .allSatisfy(input -> assertThat(input.toString()).contains("FLOAT ["));
    assertThat(((Map<?, ?>) json.get("nodes")).get("Softmax")).isNotNull();
    assertThat((long) json.get("weight_bytes")).isBetween(50_000L, 101_820L);
  }
}
