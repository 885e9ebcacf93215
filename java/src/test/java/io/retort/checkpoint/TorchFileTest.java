package io.retort.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.checkpoint.TorchSample.View;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class TorchFileTest {
  @TempDir Path directory;

  /// The golden file: a transposed view, bfloat16, a scalar, and a part of the first storage.
  @Test
  void readsWhatPyTorchWrites() throws Exception {
    try (TensorFile file = TensorFile.open(golden())) {
      assertThat(file.entries())
          .extracting(TensorEntry::toString)
          .containsExactly(
              "conv.weight F32 [2, 4]", "b BF16 [3]", "step I64 []", "shared F32 [4, 2]");
      float[] weight = file.floats("conv.weight");
      float[] shared = file.floats("shared");
      for (int i = 0; i < 8; i++) {
        assertThat(shared[i % 4 * 2 + i / 4]).isEqualTo(weight[i]);
      }
      assertThat(weight).isEqualTo(new float[] {0, 1, 2, 3, 4, 5, 6, 7});
      assertThat(file.longs("step")).containsExactly(5);
      assertThat(file.floats("b")).containsExactly(0, 1, 2);
    }
  }

  @Test
  void readsStridedAndSharedViews() {
    TorchSample sample = new TorchSample().storage("0", 0, 1, 2, 3, 4, 5);
    Map<String, Object> state = new LinkedHashMap<>();
    state.put("rows", new View("0", 6, 0, new long[] {2, 3}, new long[] {3, 1}));
    state.put("transposed", new View("0", 6, 0, new long[] {3, 2}, new long[] {1, 3}));
    state.put("part", new View("0", 6, 4, new long[] {2}, new long[] {1}));
    state.put("every_other", new View("0", 6, 1, new long[] {3}, new long[] {2}));
    state.put("scalar", new View("0", 6, 5, new long[0], new long[0]));
    state.put("empty", new View("0", 6, 6, new long[] {0, 3}, new long[] {3, 1}));
    try (TensorFile file = TensorFile.open(sample.write(directory.resolve("a.pt"), state))) {
      assertThat(file.floats("rows")).containsExactly(0, 1, 2, 3, 4, 5);
      assertThat(file.floats("transposed")).containsExactly(0, 3, 1, 4, 2, 5);
      assertThat(file.floats("part")).containsExactly(4, 5);
      assertThat(file.floats("every_other")).containsExactly(1, 3, 5);
      assertThat(file.floats("scalar")).containsExactly(5);
      assertThat(file.floats("empty")).isEmpty();
    }
  }

  /// As facebook's DiT is saved while it is trained.
  @Test
  void theArgumentsOfAScriptBesideTheWeightsAreNoObstacle() {
    TorchSample sample = new TorchSample();
    Map<String, Object> file = new LinkedHashMap<>();
    file.put("ema", Map.of("w", sample.tensor("0", new float[] {3}, 1)));
    file.put("args", new TorchSample.Arguments(Map.of("lr", 1e-4, "model", "DiT-XL/2")));
    try (TensorFile opened = TensorFile.open(sample.write(directory.resolve("a.pt"), file))) {
      assertThat(opened.floats("w")).containsExactly(3);
      assertThat(opened.entries()).hasSize(1);
    }
  }

  @Test
  void takesTheAveragedWeightsOfSeveralUnlessAnotherIsNamed() {
    Path file = checkpoint();
    try (TensorFile opened = TensorFile.open(file)) {
      assertThat(opened.floats("w")).containsExactly(2);
      assertThat(opened.metadata()).containsEntry("step", "7");
    }
    try (TensorFile opened = TensorFile.open(Path.of(file + "#model"))) {
      assertThat(opened.floats("w")).containsExactly(1);
      assertThat(opened.entries()).hasSize(1);
    }
    assertThatThrownBy(() -> TensorFile.open(Path.of(file + "#nope")).close())
        .hasMessage(file + ": holds no state dict of the name nope, only model, ema");
    try (TorchFile all = TorchFile.everything(file)) {
      assertThat(all.entries())
          .extracting(TensorEntry::name)
          .containsExactly("model.module.w", "ema.w", "optimizer.state.0.exp_avg");
    }
  }

  private Path checkpoint() {
    TorchSample sample = new TorchSample();
    Map<String, Object> root = new LinkedHashMap<>();
    root.put("step", 7L);
    root.put("model", Map.of("module.w", sample.tensor("0", new float[] {1}, 1)));
    root.put("ema", Map.of("w", sample.tensor("1", new float[] {2}, 1)));
    root.put(
        "optimizer",
        Map.of("state", Map.of(0L, Map.of("exp_avg", sample.tensor("2", new float[] {3}, 1)))));
    return sample.write(directory.resolve("checkpoint.pt"), root);
  }

  @Test
  void asksWhichOfSeveralEqualsIsMeant() {
    TorchSample sample = new TorchSample();
    Map<String, Object> root = new LinkedHashMap<>();
    root.put("student", Map.of("w", sample.tensor("0", new float[] {1}, 1)));
    root.put("critic", Map.of("w", sample.tensor("1", new float[] {2}, 1)));
    Path file = sample.write(directory.resolve("two.pt"), root);
    assertThatThrownBy(() -> TensorFile.open(file).close())
        .hasMessage(
            file
                + ": holds several state dicts (student, critic); name one after a #, as in"
                + " two.pt#student");
  }

  @ParameterizedTest
  @CsvSource({
    "7, 3, 1, 7", // past the end
    "1, 3, 3, 6", // stride leaves the storage
    "0, 7, 0, 6", // repeats elements
    "0, 4611686018427387904, 4, 6",
    "0, 3, 9223372036854775807, 6",
    "-1, 3, 1, 6",
    "0, -3, 1, 6",
    "0, 3, -1, 6",
  })
  void refusesViewsThatLeaveTheirStorage(long offset, long size, long stride, long elements) {
    TorchSample sample = new TorchSample().storage("0", 0, 1, 2, 3, 4, 5);
    var view = new View("0", elements, offset, new long[] {size}, new long[] {stride});
    Path file = sample.write(directory.resolve("bad.pt"), Map.of("w", view));
    assertThatThrownBy(
            () -> {
              try (TensorFile opened = TensorFile.open(file)) {
                opened.floats("w");
              }
            })
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(file + ": ");
  }

  @Test
  void refusesAStorageOfAnotherLengthThanDeclared() {
    TorchSample sample = new TorchSample().storage("0", 1, 2);
    var view = new View("0", 3, 0, new long[] {3}, new long[] {1});
    Path file = sample.write(directory.resolve("short.pt"), Map.of("w", view));
    assertThatThrownBy(
            () -> {
              try (TensorFile opened = TensorFile.open(file)) {
                opened.floats("w");
              }
            })
        .hasMessage(file + ": tensor \"w\": lies in a storage of 8 bytes, which should have 12");
  }

  @ParameterizedTest
  @ValueSource(longs = {-1, 1000, 1L << 59, Long.MAX_VALUE})
  void refusesAStorageThatTheFileCannotHold(long elements) {
    TorchSample sample = new TorchSample().storage("0");
    var view = new View("0", elements, 0, new long[] {1}, new long[] {1});
    Path file = sample.write(directory.resolve("huge.pt"), Map.of("w", view));
    assertThatThrownBy(() -> TensorFile.open(file).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessage(
            "%s: its pickle has a storage of %d elements, which the file cannot hold"
                .formatted(file, elements));
  }

  @ParameterizedTest
  @ValueSource(strings = {"os\nsystem\n", "builtins\neval\n", "numpy\nndarray\n", "torch\nload\n"})
  void makesNoOtherObject(String global) throws Exception {
    var code = new ByteArrayOutputStream();
    code.write(new byte[] {(byte) 0x80, 2, 'c'});
    code.write(global.getBytes(StandardCharsets.US_ASCII));
    code.write(new byte[] {')', 'R', '.'});
    Path file = new TorchSample().writeCode(directory.resolve("evil.pt"), code.toByteArray());
    assertThatThrownBy(() -> TensorFile.open(file).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("holds the Python object " + global.strip().replace('\n', '.'))
        .hasMessageNotContaining("\n");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "80",
        "8002",
        "8002.",
        "80027d",
        "80027d28752e00",
        "80027d71ff680a2e",
        "8002585affffff2e",
        "80028aff2e",
        "800228742e",
        "8002752e",
        "80025d",
        "800249310a2e",
        "8002c25b2e",
        "8002292952",
        "80024e612e",
        "80025d5d652e",
        "8002517d2e",
        "80027d622e",
        "80067d2e"
      })
  void refusesBrokenPickles(String hex) {
    var text = hex.replace(".", "2e");
    byte[] code = HexFormat.of().parseHex(text);
    Path file = new TorchSample().writeCode(directory.resolve("broken.pt"), code);
    assertThatThrownBy(() -> TensorFile.open(file).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(file + ": ")
        .hasMessageNotContaining("\n");
  }

  @Test
  void refusesAPickleThatGrowsBeyondItsFile() {
    var code = new byte[4 << 20];
    Arrays.fill(code, (byte) '}');
    Path file = new TorchSample().writeCode(directory.resolve("bomb.pt"), code);
    assertThatThrownBy(() -> TensorFile.open(file).close())
        .hasMessageEndingWith("makes more values than a state dict of this size can have");
  }

  @Test
  void refusesContainersWithinThemselves() {
    // A list that is appended to itself ten times.
    byte[] code = HexFormat.of().parseHex("80025d7100" + "680061".repeat(10) + "2e");
    Path file = new TorchSample().writeCode(directory.resolve("loop.pt"), code);
    assertThatThrownBy(() -> TensorFile.open(file).close())
        .hasMessageEndingWith("is nested deeper or wider than a state dict");
  }

  @Test
  void saysWhatToDoWithPickles() throws Exception {
    Path old = directory.resolve("old.pt");
    Files.write(old, new byte[] {(byte) 0x80, 2, (byte) 0x8a, 10, 0x6c, (byte) 0xfc});
    assertThatThrownBy(() -> TensorFile.open(old).close())
        .hasMessageContaining("is in the format before PyTorch 1.6");
    Path snapshot = directory.resolve("network-snapshot-200000.pkl");
    Files.write(snapshot, new byte[] {(byte) 0x80, 4, (byte) 0x95, 0, 0, 0, 0, 0, 0, 0, 0, '}'});
    assertThatThrownBy(() -> TensorFile.open(snapshot).close())
        .hasMessageContaining("these six lines convert it")
        .isInstanceOfSatisfying(
            CheckpointException.class, refused -> assertThat(refused.advice().lines()).hasSize(6));
  }

  @Test
  void refusesOtherZipsAndDamage() throws Exception {
    byte[] whole = Files.readAllBytes(golden());
    Path file = directory.resolve("cut.pt");
    for (int length = 0; length < whole.length; length += 7) {
      Files.write(file, Arrays.copyOf(whole, length));
      assertThatThrownBy(() -> TensorFile.open(file).close())
          .isInstanceOf(CheckpointException.class);
    }
    int storage = indexOf(whole, "pt_sample/data/0");
    for (int i = storage + 16; whole[i] == 'F' || whole[i] == 'B' || i % 64 != 0; i++) {
      storage = i + 1 - 16;
    }
    whole[storage + 16] ^= 1;
    Files.write(file, whole);
    assertThatThrownBy(
            () -> {
              try (TensorFile opened = TensorFile.open(file)) {
                opened.floats("conv.weight");
              }
            })
        .hasMessageContaining("does not match its checksum");
    try (var npz = Objects.requireNonNull(getClass().getResourceAsStream("/golden/fidref.npz"))) {
      Files.write(file, npz.readAllBytes());
    }
    assertThatThrownBy(() -> TensorFile.open(file).close())
        .hasMessage(file + ": is a zip file, but no PyTorch state dict");
  }

  private static int indexOf(byte[] bytes, String text) {
    return new String(bytes, StandardCharsets.ISO_8859_1).indexOf(text);
  }

  private static Path golden() throws Exception {
    return Path.of(
        Objects.requireNonNull(TorchFileTest.class.getResource("/golden/pt_sample.pt")).toURI());
  }
}
