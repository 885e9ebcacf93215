package io.retort;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.management.ThreadMXBean;
import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.NpzFile;
import io.retort.checkpoint.OnnxListing;
import io.retort.checkpoint.SafetensorsReader;
import io.retort.checkpoint.TensorEntry;
import io.retort.checkpoint.TensorFile;
import io.retort.checkpoint.TorchFile;
import io.retort.checkpoint.TorchSample;
import io.retort.checkpoint.TorchSample.View;
import io.retort.data.ZipArchive;
import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.function.Function;
import java.util.function.IntFunction;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Files that are nothing but names: what opening one allocates, garbage included, is at most twice
/// its size and a fixed mebibyte, however many tensors, entries or texts it lists.
class LargeFilesTest {
  private static final int MANY = 200_000;
  private static final long FIXED_BYTES = 1 << 20;
  private static final ThreadMXBean THREAD = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  @TempDir private Path folder;

  @Test
  void aHeaderOfManyTensorsTakesLittleMoreThanItself() throws Exception {
    Path file = safetensors(header(i -> "t" + i));
    try (SafetensorsReader reader = cheaply(file, SafetensorsReader::open)) {
      assertThat(reader.entries()).hasSize(MANY);
      assertThat(reader.find("t77777")).contains(reader.entries().get(77777));
      assertThat(reader.contains("t200000")).isFalse();
      int seen = 0;
      for (TensorEntry entry : reader.entries()) {
        assertThat(entry.name()).isEqualTo("t" + seen++);
      }
    }
  }

  @Test
  void namesWithEscapesAreTheSameNamesAndCostNoMore() throws Exception {
    Path file = safetensors(header(i -> "\\u0074\\ud83d\\ude00\\n" + i));
    try (SafetensorsReader reader = cheaply(file, SafetensorsReader::open)) {
      assertThat(reader.contains("t\ud83d\ude00\n99999")).isTrue();
      assertThat(reader.entries().getLast().name()).isEqualTo("t\ud83d\ude00\n199999");
    }
    Path twice = safetensors(header(i -> i == MANY - 1 ? "\\u0074\\u0030" : "t" + i));
    assertThatThrownBy(() -> SafetensorsReader.open(twice))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("\"t0\" appears twice");
  }

  @Test
  void tensorsInAnyOrderAreListedInThatOfTheirData() throws Exception {
    List<Integer> order = new ArrayList<>();
    for (int i = 0; i < MANY; i++) {
      order.add(i);
    }
    Collections.shuffle(order, new Random(1));
    Path file = safetensors(header(i -> "t" + order.get(i), order));
    try (SafetensorsReader reader = cheaply(file, SafetensorsReader::open)) {
      assertThat(reader.entries().get(12345).name()).isEqualTo("t12345");
    }
  }

  @Test
  void metadataStayInTheFileUntilTheyAreAskedFor() throws Exception {
    String large = "x".repeat(8_000_000) + "\u20ac";
    Path file = safetensors("{\"__metadata__\":{\"a\":\"" + large + "\",\"b\":\"2\"}}");
    try (SafetensorsReader reader = cheaply(file, SafetensorsReader::open)) {
      assertThat(reader.metadata()).containsEntry("a", large).containsEntry("b", "2").hasSize(2);
      assertThat(reader.metadata().sequencedKeySet()).containsExactly("a", "b");
      assertThat(reader.metadata().reversed().firstEntry().getKey()).isEqualTo("b");
    }
    var many = new StringBuilder("{\"__metadata__\":{\"0\":\"\"");
    for (int i = 1; i < 60_000; i++) {
      many.append(",\"").append(Integer.toString(i, 36)).append("\":\"\"");
    }
    try (SafetensorsReader reader = cheaply(safetensors(many + "}}"), SafetensorsReader::open)) {
      assertThat(reader.metadata()).hasSize(60_000).containsKey("z");
    }
    for (int i = 60_000; i < 70_000; i++) {
      many.append(",\"").append(Integer.toString(i, 36)).append("\":\"\"");
    }
    assertRefused(safetensors(many + "}}"), SafetensorsReader::open, "more than 65536 names");
  }

  @Test
  void aZipOfManyEmptyFilesTakesLessThanItself() throws Exception {
    Path file = folder.resolve("many.zip");
    try (var zip = zip(file)) {
      for (int i = 0; i < 100_000; i++) {
        zip.putNextEntry(stored("e" + i, 0));
        zip.closeEntry();
      }
    }
    try (ZipArchive archive = cheaply(file, ZipArchive::open)) {
      assertThat(archive.names()).hasSize(100_000).startsWith("e0", "e1");
      assertThat(archive.read(archive.entry("e99999"), 0)).isEmpty();
      assertThat(archive.find("e100000")).isEmpty();
    }
  }

  @Test
  void manyArraysAreListedOneByOne() throws Exception {
    Path one = folder.resolve("one.npy");
    NpyFile.write(one, new float[0], 0);
    byte[] empty = Files.readAllBytes(one);
    var crc = new CRC32();
    crc.update(empty);
    Path file = folder.resolve("many.npz");
    try (var zip = zip(file)) {
      for (int i = 0; i < 50_000; i++) {
        ZipEntry entry = stored("a" + i + ".npy", empty.length);
        entry.setCrc(crc.getValue());
        zip.putNextEntry(entry);
        zip.write(empty);
        zip.closeEntry();
      }
    }
    try (NpzFile opened = cheaply(file, NpzFile::open)) {
      assertThat(opened.names()).hasSize(50_000);
    }
  }

  @Test
  void aPickleOfManyValuesIsReadOrRefusedCheaply() throws Exception {
    TorchSample sample = new TorchSample().storage("0", new float[1 << 20]);
    Map<String, Object> few = new LinkedHashMap<>();
    for (int i = 0; i < 3_000; i++) {
      few.put("layer." + i, new View("0", 1 << 20, i, new long[] {1}, new long[] {1}));
    }
    try (TensorFile opened =
        cheaply(sample.write(folder.resolve("few.pt"), few), TorchFile::open)) {
      assertThat(opened.entries()).hasSize(3_000);
    }
    Map<String, Object> many = new LinkedHashMap<>(few);
    for (int i = 0; i < MANY; i++) {
      many.put("k" + i, 0L);
    }
    assertRefused(
        new TorchSample().storage("0", new float[1 << 20]).write(folder.resolve("many.pt"), many),
        TorchFile::open,
        "more values than a state dict of this size can have");
  }

  @Test
  void aPathIsNotRepeatedForWhatLiesBelowIt() throws Exception {
    TorchSample sample = new TorchSample().storage("0", 1);
    Map<String, Object> inner = new LinkedHashMap<>();
    for (int i = 0; i < 2_000; i++) {
      inner.put("k" + i, 0L);
    }
    assertRefused(
        sample.write(folder.resolve("long.pt"), Map.of("p".repeat(1_000_000), inner)),
        TorchFile::everything,
        "more values than a state dict of this size can have");
  }

  @Test
  void aGraphOfManyNodesIsCountedAndOneOfManyInputsRefused() throws Exception {
    var nodes = new ByteArrayOutputStream();
    for (int i = 0; i < MANY; i++) {
      field(nodes, 1, field(4, (i % 2 == 0 ? "Add" : "Mul").getBytes(StandardCharsets.UTF_8)));
    }
    Path file = onnx(nodes);
    OnnxListing.read(file);
    OnnxListing listing = measured(file, () -> OnnxListing.read(file));
    assertThat(listing.nodes())
        .containsExactly(Map.entry("Add", 100_000), Map.entry("Mul", 100_000));
    var inputs = new ByteArrayOutputStream();
    var operators = new ByteArrayOutputStream();
    for (int i = 0; i < MANY; i++) {
      field(inputs, 11, field(1, new byte[] {'x'}));
      field(operators, 1, field(4, ("Op" + i).getBytes(StandardCharsets.UTF_8)));
    }
    assertRefused(onnx(inputs), OnnxListing::read, "lists more than 4096 inputs");
    assertRefused(onnx(operators), OnnxListing::read, "lists more than 4096 operators");
  }

  /// Opens a file twice, for the first time loads classes.
  private static <T extends AutoCloseable> T cheaply(Path file, Function<Path, T> opening)
      throws Exception {
    opening.apply(file).close();
    return measured(file, () -> opening.apply(file));
  }

  private static void assertRefused(Path file, Function<Path, ?> opening, String reason)
      throws Exception {
    for (int i = 0; i < 2; i++) {
      measured(
          file,
          () ->
              assertThatThrownBy(() -> opening.apply(file))
                  .isInstanceOf(CheckpointException.class)
                  .hasMessageContaining(reason));
    }
  }

  private static <T> T measured(Path file, Callable<T> opening) throws Exception {
    long before = THREAD.getCurrentThreadAllocatedBytes();
    T opened = opening.call();
    long allocated = THREAD.getCurrentThreadAllocatedBytes() - before;
    assertThat(allocated).isLessThanOrEqualTo(2 * Files.size(file) + FIXED_BYTES);
    return opened;
  }

  private static String header(IntFunction<String> name) {
    List<Integer> order = new ArrayList<>();
    for (int i = 0; i < MANY; i++) {
      order.add(i);
    }
    return header(name, order);
  }

  /// One byte each, at the places that `order` says.
  private static String header(IntFunction<String> name, List<Integer> order) {
    var text = new StringBuilder("{");
    for (int i = 0; i < MANY; i++) {
      int at = order.get(i);
      text.append(i == 0 ? "\"" : ",\"").append(name.apply(i));
      text.append("\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[");
      text.append(at).append(',').append(at + 1).append("]}");
    }
    return text.append('}').toString();
  }

  private Path safetensors(String header) throws IOException {
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    Path file = folder.resolve("m.safetensors");
    try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(file))) {
      out.write(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(json.length).array());
      out.write(json);
      out.write(new byte[header.contains("dtype") ? MANY : 0]);
    }
    return file;
  }

  private static ZipOutputStream zip(Path file) throws IOException {
    return new ZipOutputStream(new BufferedOutputStream(Files.newOutputStream(file)));
  }

  private static ZipEntry stored(String name, int size) {
    ZipEntry entry = new ZipEntry(name);
    entry.setMethod(ZipEntry.STORED);
    entry.setSize(size);
    entry.setCrc(0);
    return entry;
  }

  private Path onnx(ByteArrayOutputStream graph) throws IOException {
    return Files.write(folder.resolve("m.onnx"), field(7, graph.toByteArray()));
  }

  private static byte[] field(int number, byte[] content) throws IOException {
    var out = new ByteArrayOutputStream();
    field(out, number, content);
    return out.toByteArray();
  }

  private static void field(ByteArrayOutputStream out, int number, byte[] content)
      throws IOException {
    out.write(number << 3 | 2);
    for (int left = content.length; ; left >>>= 7) {
      out.write(left < 128 ? left : left & 127 | 128);
      if (left < 128) {
        break;
      }
    }
    out.write(content);
  }
}
