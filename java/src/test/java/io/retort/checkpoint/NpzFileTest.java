package io.retort.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Objects;
import java.util.SequencedMap;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class NpzFileTest {
  @TempDir Path directory;

  /// Written by NumPy 2.4.6's savez_compressed.
  @Test
  void readsDeflatedArraysOfNumpy() throws Exception {
    try (NpzFile file = NpzFile.open(golden("numpy_compressed.npz"))) {
      assertThat(file.names()).containsExactly("half", "columns", "big", "flag", "zeros");
      assertThat(file.read("half").floats()).containsExactly(1, -2.5f);
      assertThat(file.read("columns").floats()).containsExactly(0, 1, 2, 3, 4, 5);
      assertThat(file.read("big").longs()).containsExactly(1, -2);
      assertThat(file.read("flag").longs()).containsExactly(1);
      assertThat(file.read("zeros").doubles()).hasSize(600).containsOnly(0);
      assertThat(file.entries().getLast())
          .isEqualTo(new ArrayEntry("zeros", "f8", new long[] {30, 20}, 4_800));
      assertThatThrownBy(() -> file.read("none"))
          .hasMessageEndingWith("\"none\": is not in this file");
    }
  }

  @Test
  void readsStoredArraysOfNumpy() throws Exception {
    try (NpzFile file = NpzFile.open(golden("fidref.npz"))) {
      assertThat(file.read("mu").doubles()).containsExactly(0, 1, 2, 3);
      assertThat(file.read("sigma").shape()).containsExactly(4, 4);
    }
  }

  @Test
  void writesWhatItReadsAndTheSameBytesTwice() throws Exception {
    SequencedMap<String, NpyFile> arrays = new LinkedHashMap<>();
    arrays.put("x", NpyFile.of(new float[] {1, Float.NaN, 3, 4, 5, 6}, 3, 2));
    arrays.put("n", NpyFile.of(new long[] {Long.MIN_VALUE}));
    arrays.put("u", NpyFile.of(new byte[] {-1, 0}, 2));
    arrays.put("d", NpyFile.of(new double[0], 0, 7));
    Path file = directory.resolve("a.npz");
    NpzFile.write(file, arrays);
    byte[] first = Files.readAllBytes(file);
    NpzFile.write(file, arrays);
    assertThat(Files.readAllBytes(file)).isEqualTo(first);
    try (NpzFile read = NpzFile.open(file)) {
      assertThat(read.names()).containsExactly("x", "n", "u", "d");
      assertThat(read.read("x").floats()).containsExactly(1, Float.NaN, 3, 4, 5, 6);
      assertThat(read.read("x").shape()).containsExactly(3, 2);
      assertThat(read.read("n").longs()).containsExactly(Long.MIN_VALUE);
      assertThat(read.read("u").longs()).containsExactly(255, 0);
      assertThat(read.read("d").shape()).containsExactly(0, 7);
    }
  }

  @Test
  void refusesTruncationsAndOtherZips() throws Exception {
    byte[] whole = Files.readAllBytes(golden("numpy_compressed.npz"));
    Path file = directory.resolve("cut.npz");
    for (int length = 0; length < whole.length; length += 5) {
      Files.write(file, Arrays.copyOf(whole, length));
      assertThatThrownBy(() -> NpzFile.open(file).close())
          .isInstanceOf(CheckpointException.class)
          .hasMessageStartingWith(file + ": ");
    }
    try (var zip = new ZipOutputStream(Files.newOutputStream(file))) {
      zip.putNextEntry(new ZipEntry("../evil.sh"));
      zip.write("x".getBytes(StandardCharsets.UTF_8));
    }
    assertThatThrownBy(() -> NpzFile.open(file).close())
        .hasMessage(file + ": holds ../evil.sh, which is no array");
  }

  private static Path golden(String name) throws Exception {
    return Path.of(
        Objects.requireNonNull(NpzFileTest.class.getResource("/golden/" + name)).toURI());
  }
}
