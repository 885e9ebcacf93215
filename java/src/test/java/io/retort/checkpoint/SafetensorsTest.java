package io.retort.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.data.Json;
import java.io.IOException;
import java.io.InputStream;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

final class SafetensorsTest {
  private static final String CASES = "/golden/safetensors_cases/";

  /// Where the reference reader accepts what two readers could understand differently.
  private static final Set<String> STRICTER =
      Set.of("header_leading_space", "dup_name", "dup_meta_key", "zero_first_overflow");

  @TempDir Path directory;

  static Stream<Arguments> verdicts() throws IOException {
    return Json.parseObject(new String(resource(CASES + "verdicts.json"), StandardCharsets.UTF_8))
        .entrySet()
        .stream()
        .map(verdict -> Arguments.of(verdict.getKey(), verdict.getValue()));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("verdicts")
  void agreesWithTheReferenceReader(String name, String verdict) throws Exception {
    Path file = resourcePath(CASES + name + ".safetensors");
    if (verdict.startsWith("reject") || STRICTER.contains(name)) {
      assertThatThrownBy(() -> SafetensorsReader.open(file).close())
          .isInstanceOf(CheckpointException.class)
          .hasMessageStartingWith(file + ": ")
          .hasMessageNotContaining("\n");
      return;
    }
    try (var reader = SafetensorsReader.open(file)) {
      String listed = verdict.substring("accept [".length(), verdict.length() - 1);
      assertThat(pythonTuples(reader.entries()))
          .containsExactlyInAnyOrder(listed.isEmpty() ? new String[0] : listed.split("(?<=\\)), "));
      for (TensorEntry entry : reader.entries()) {
        assertThat(reader.bytes(entry.name())).hasSize((int) entry.bytes());
      }
    }
  }

  @Test
  void everyVerdictIsTested() throws Exception {
    assertThat(verdicts()).hasSize(59);
  }

  @Test
  void writesTheReferenceWritersBytes() throws Exception {
    Path file = directory.resolve("written.safetensors");
    halfOfEverything().write(file);
    assertThat(Files.readAllBytes(file))
        .isEqualTo(resource(CASES + "writer_reference.safetensors"));
  }

  @Test
  void readsValuesOfEveryConvertibleType() throws Exception {
    Path file = resourcePath(CASES + "writer_reference.safetensors");
    try (var reader = SafetensorsReader.open(file)) {
      assertThat(reader.metadata()).containsExactly(Map.entry("z", "1"));
      assertThat(reader.longs("a")).containsExactly(0, 1);
      assertThat(reader.floats("b")).containsExactly(0, 1, 2);
      assertThat(reader.doubles("s")).containsExactly(2.5);
      assertThat(reader.floats("h")).containsExactly(0, 1);
      assertThat(reader.longs("c")).containsExactly(1, 0);
      assertThatThrownBy(() -> reader.floats("a"))
          .hasMessageEndingWith("tensor \"a\": dtype must be F32, F16, BF16 or F64, got I64");
      assertThatThrownBy(() -> reader.longs("b"))
          .hasMessageEndingWith("tensor \"b\": dtype must be an integer type or BOOL, got F32");
      assertThatThrownBy(() -> reader.floats("nope"))
          .hasMessageEndingWith("tensor \"nope\": is not in this file");
    }
  }

  @Test
  void convertsHalfPrecisionExactlyAndTruncatesNothing() throws Exception {
    Path file = directory.resolve("half.safetensors");
    short[] bf16 = {0x3f80, (short) 0xc020, 0x7f80};
    ByteBuffer bytes = ByteBuffer.allocate(6).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asShortBuffer().put(bf16);
    new SafetensorsWriter()
        .raw("x", StorageType.BF16, new long[] {3}, () -> bytes)
        .doubles("d", new long[] {1}, () -> new double[] {Math.PI})
        .write(file);
    try (var reader = SafetensorsReader.open(file)) {
      assertThat(reader.floats("x")).containsExactly(1f, -2.5f, Float.POSITIVE_INFINITY);
      assertThat(reader.doubles("d")).containsExactly(Math.PI);
      assertThat(reader.floats("d")).containsExactly((float) Math.PI);
    }
  }

  @Test
  void streamsTensorsLargerThanOneChunk() throws Exception {
    Path file = directory.resolve("large.safetensors");
    var values = new float[700_001];
    for (int i = 0; i < values.length; i++) {
      values[i] = i;
    }
    new SafetensorsWriter().floats("v", new long[] {values.length}, () -> values).write(file);
    try (var reader = SafetensorsReader.open(file)) {
      assertThat(reader.floats("v")).isEqualTo(values);
    }
  }

  @Test
  void refusesEveryTruncationAndEveryExtraByte() throws Exception {
    byte[] whole = resource(CASES + "writer_reference.safetensors");
    Path file = directory.resolve("cut.safetensors");
    for (int length = 0; length < whole.length; length++) {
      Files.write(file, Arrays.copyOf(whole, length));
      assertThatThrownBy(() -> SafetensorsReader.open(file).close())
          .isInstanceOf(CheckpointException.class);
    }
    Files.write(file, Arrays.copyOf(whole, whole.length + 1));
    assertThatThrownBy(() -> SafetensorsReader.open(file).close())
        .hasMessageEndingWith("the tensors cover 38 bytes, the file has 39");
  }

  @Test
  void anyFlippedBitIsReadOrRefusedButNeverCrashes() throws Exception {
    byte[] whole = resource(CASES + "writer_reference.safetensors");
    Path file = directory.resolve("flipped.safetensors");
    for (int bit = 0; bit < whole.length * 8; bit++) {
      byte[] flipped = whole.clone();
      flipped[bit / 8] ^= (byte) (1 << bit % 8);
      Files.write(file, flipped);
      readAllOrRefuse(file);
    }
  }

  private static void readAllOrRefuse(Path file) {
    try (var reader = SafetensorsReader.open(file)) {
      for (TensorEntry entry : reader.entries()) {
        reader.bytes(entry.name());
        if (entry.type().name().contains("F")) {
          reader.doubles(entry.name());
        } else {
          reader.longs(entry.name());
        }
      }
    } catch (CheckpointException refused) {
      assertThat(refused).hasMessageNotContaining("\n");
    }
  }

  @Test
  void escapesHostileNamesInMessages() throws Exception {
    Path file = directory.resolve("hostile.safetensors");
    byte[] json = "{\"\\u001b[31m\\n\":{}}".getBytes(StandardCharsets.UTF_8);
    ByteBuffer bytes = ByteBuffer.allocate(8 + json.length).order(ByteOrder.LITTLE_ENDIAN);
    Files.write(file, bytes.putLong(json.length).put(json).array());
    assertThatThrownBy(() -> SafetensorsReader.open(file).close())
        .hasMessage(file + ": tensor \"?[31m?\": needs dtype, shape and data_offsets");
  }

  @Test
  void namesThatNeedEscapesSurviveARoundTrip() {
    Path file = directory.resolve("names.safetensors");
    List<String> names =
        List.of("", "a\"b\\c", "\u0000\n", "é", "\uffff", "😀", "../../etc/passwd");
    var writer = new SafetensorsWriter().metadata("ключ", "\"значение\"\u0007");
    names.forEach(name -> writer.longs(name, new long[] {0, 3}, () -> new long[0]));
    writer.write(file);
    try (var reader = SafetensorsReader.open(file)) {
      assertThat(reader.entries().stream().map(TensorEntry::name))
          .containsExactly("", "\u0000\n", "../../etc/passwd", "a\"b\\c", "é", "\uffff", "😀");
      assertThat(reader.metadata()).containsEntry("ключ", "\"значение\"\u0007");
    }
  }

  @Test
  void writerRefusesWhatCannotBeRead() {
    var writer = new SafetensorsWriter().floats("a", new long[] {1}, () -> new float[1]);
    assertThatThrownBy(() -> writer.floats("a", new long[] {1}, () -> new float[1]))
        .hasMessageContaining("declared twice");
    assertThatThrownBy(() -> writer.floats("__metadata__", new long[0], () -> new float[1]))
        .hasMessageContaining("reserved");
    assertThatThrownBy(() -> writer.floats("b", new long[] {-1}, () -> new float[1]))
        .hasMessageContaining("negative");
    assertThatThrownBy(() -> writer.floats("\ud800", new long[] {1}, () -> new float[1]))
        .hasMessageContaining("surrogate");
    assertThatThrownBy(
            () -> writer.raw("f4", StorageType.F4, new long[] {3}, () -> ByteBuffer.allocate(2)))
        .hasMessageContaining("impossible shape");
  }

  @Test
  void aFailedWriteLeavesTheFormerFileAndNothingElse() throws Exception {
    Path file = directory.resolve("model.safetensors");
    halfOfEverything().write(file);
    byte[] before = Files.readAllBytes(file);
    var full =
        new SafetensorsWriter()
            .tensor(
                "w",
                StorageType.U8,
                new long[] {4},
                out -> {
                  out.write(ByteBuffer.allocate(2));
                  throw new IOException("No space left on device");
                });
    assertThatThrownBy(() -> full.write(file))
        .isInstanceOf(CheckpointException.class)
        .hasMessage(file + ": tensor \"w\": no space left on device");
    var wrongLength = new SafetensorsWriter().floats("w", new long[] {2}, () -> new float[3]);
    assertThatThrownBy(() -> wrongLength.write(file))
        .hasMessage(file + ": tensor \"w\": F32 of [2] needs 8 bytes, its data gave 12");
    assertThat(Files.readAllBytes(file)).isEqualTo(before);
    try (var files = Files.list(directory)) {
      assertThat(files).containsExactly(file);
    }
  }

  @Test
  void unreadableAndUnwritablePathsGiveOneSentence() {
    Path missing = directory.resolve("absent/model.safetensors");
    assertThatThrownBy(() -> SafetensorsReader.open(missing))
        .isInstanceOf(CheckpointException.class)
        .hasMessage(missing + ": no such file or directory");
    assertThatThrownBy(() -> halfOfEverything().write(missing))
        .isInstanceOf(CheckpointException.class)
        .hasMessage(missing + ": no such file or directory");
    assertThatThrownBy(() -> SafetensorsReader.open(directory))
        .hasMessage(directory + ": is not a regular file");
    assertThatThrownBy(() -> halfOfEverything().write(directory))
        .hasMessage(directory + ": is a directory");
  }

  @Test
  void sweepRemovesOnlyWhatKilledWritersLeft() throws Exception {
    Path kept = Files.createFile(directory.resolve("model.safetensors"));
    Files.createFile(directory.resolve(".model.safetensors.k3.retort-partial"));
    AtomicFile.sweep(directory);
    try (var files = Files.list(directory)) {
      assertThat(files).containsExactly(kept);
    }
  }

  @Test
  void readsAGoldenNetwork() throws Exception {
    try (var reader = SafetensorsReader.open(resourcePath("/golden/songunet_tiny_8.safetensors"))) {
      assertThat(reader.entries()).isNotEmpty();
      assertThat(Json.parseObject(Objects.requireNonNull(reader.metadata().get("config"))))
          .isNotEmpty();
      for (TensorEntry entry : reader.entries()) {
        if (entry.type() == StorageType.F32) {
          assertThat(reader.floats(entry.name())).hasSize((int) entry.elements());
        }
      }
    }
  }

  /// The tensors of the reference writer's file, declared in another order than they are written.
  private static SafetensorsWriter halfOfEverything() {
    ByteBuffer halves = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN);
    halves.asShortBuffer().put(new short[] {0, 0x3c00});
    return new SafetensorsWriter()
        .raw("c", StorageType.BOOL, new long[] {2}, () -> ByteBuffer.wrap(new byte[] {1, 0}))
        .floats("s", new long[0], () -> new float[] {2.5f})
        .raw("h", StorageType.F16, new long[] {2}, () -> halves)
        .floats("b", new long[] {3}, () -> new float[] {0, 1, 2})
        .longs("a", new long[] {2}, () -> new long[] {0, 1})
        .metadata("z", "1");
  }

  /// As the verdicts list a tensor; they list in no particular order.
  private static List<String> pythonTuples(List<TensorEntry> entries) {
    return entries.stream()
        .map(e -> "('%s', '%s', %s)".formatted(e.name(), e.type(), Arrays.toString(e.shape())))
        .toList();
  }

  private static byte[] resource(String name) throws IOException {
    try (InputStream in = SafetensorsTest.class.getResourceAsStream(name)) {
      return Objects.requireNonNull(in, name).readAllBytes();
    }
  }

  private static Path resourcePath(String name) throws URISyntaxException {
    URL url = Objects.requireNonNull(SafetensorsTest.class.getResource(name), name);
    return Path.of(url.toURI());
  }
}
