package io.retort.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class NpyFileTest {
  @TempDir Path directory;

  @Test
  void writesWhatNumpyWrites() throws Exception {
    Path file = directory.resolve("x.npy");
    NpyFile.write(file, new float[] {1, -2.5f}, 2);
    byte[] bytes = Files.readAllBytes(file);
    String dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
    assertThat(bytes).hasSize(128 + 8);
    assertThat(new String(bytes, 10, 118, StandardCharsets.US_ASCII))
        .isEqualTo(dict + " ".repeat(117 - dict.length()) + "\n");
    assertThat(Arrays.copyOf(bytes, 10))
        .isEqualTo(new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 118, 0});
  }

  @Test
  void roundTripsEveryWrittenType() {
    Path file = directory.resolve("x.npy");
    NpyFile.write(file, new float[] {1, Float.NaN, 3, 4, 5, 6}, 1, 2, 3);
    assertThat(NpyFile.read(file).shape()).containsExactly(1, 2, 3);
    assertThat(NpyFile.read(file).floats()).containsExactly(1, Float.NaN, 3, 4, 5, 6);
    NpyFile.write(file, new double[] {Math.PI});
    assertThat(NpyFile.read(file).shape()).isEmpty();
    assertThat(NpyFile.read(file).doubles()).containsExactly(Math.PI);
    NpyFile.write(file, new long[] {Long.MIN_VALUE, 7}, 2);
    assertThat(NpyFile.read(file).longs()).containsExactly(Long.MIN_VALUE, 7);
    NpyFile.write(file, new byte[] {-1, 0}, 2, 1);
    assertThat(NpyFile.read(file).longs()).containsExactly(255, 0);
    NpyFile.write(file, new float[0], 0, 4);
    assertThat(NpyFile.read(file).floats()).isEmpty();
  }

  @ParameterizedTest
  @CsvSource({
    "|b1, 0200, '1,0'",
    "|i1, 80ff, '-128,-1'",
    "|u1, 80ff, '128,255'",
    "<i2, 00800100, '-32768,1'",
    ">i2, 80000001, '-32768,1'",
    ">u2, 80000001, '32768,1'",
    ">i4, ffffffff00000002, '-1,2'",
    "<u4, ffffffff02000000, '4294967295,2'",
    "=i8, 01000000000000000200000000000000, '1,2'",
  })
  void readsIntegersOfAnyWidthAndOrder(String descr, String hex, String expected) throws Exception {
    Path file = npy(1, dict(descr, "False", "(2,)"), hex);
    long[] values = Arrays.stream(expected.split(",", -1)).mapToLong(Long::parseLong).toArray();
    assertThat(NpyFile.read(file).longs()).isEqualTo(values);
  }

  @ParameterizedTest
  @CsvSource({
    "<f2, 003c00c1, 1",
    ">f2, 3c00c100, 2",
    ">f4, 3f800000c0200000, 3",
    ">f8, " + "3ff0000000000000c004000000000000, 3"
  })
  void readsFloatsOfAnyWidthOrderAndVersion(String descr, String hex, int version)
      throws Exception {
    Path file = npy(version, dict(descr, "False", "(2,)"), hex);
    assertThat(NpyFile.read(file).floats()).containsExactly(1f, -2.5f);
  }

  @Test
  void turnsFortranOrderIntoCOrder() throws Exception {
    Path file = npy(1, dict("|u1", "True", "(2, 3)"), "010402050306");
    assertThat(NpyFile.read(file).longs()).containsExactly(1, 2, 3, 4, 5, 6);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "{",
        "{}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }",
        "{'descr': '<U4', 'fortran_order': False, 'shape': (2,), }",
        "{'descr': '<f3', 'fortran_order': False, 'shape': (2,), }",
        "{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2.0,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387906,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4294967296, 4294967296), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 'y'}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), } print()",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4",
      })
  void refusesHostileHeaders(String dict) throws Exception {
    Path file = npy(1, dict, "0000000000000000");
    assertThatThrownBy(() -> NpyFile.read(file))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(file + ": ")
        .hasMessageNotContaining("\n");
  }

  @Test
  void refusesEveryTruncationAndSurvivesEveryFlippedBit() throws Exception {
    byte[] whole = Files.readAllBytes(npy(1, dict("<f4", "True", "(1, 2)"), "0000803f000000c0"));
    Path file = directory.resolve("damaged.npy");
    for (int length = 0; length < whole.length; length++) {
      Files.write(file, Arrays.copyOf(whole, length));
      assertThatThrownBy(() -> NpyFile.read(file)).isInstanceOf(CheckpointException.class);
    }
    for (int bit = 0; bit < whole.length * 8; bit++) {
      byte[] flipped = whole.clone();
      flipped[bit / 8] ^= (byte) (1 << bit % 8);
      Files.write(file, flipped);
      try {
        NpyFile.read(file).floats();
      } catch (CheckpointException refused) {
        assertThat(refused).hasMessageNotContaining("\n");
      }
    }
  }

  @Test
  void refusesALengthBeyondTheLimitBeforeAllocating() throws Exception {
    Path file = directory.resolve("long.npy");
    ByteBuffer bytes = ByteBuffer.allocate(20).order(ByteOrder.LITTLE_ENDIAN);
    bytes.put(new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 2, 0}).putInt(-1);
    Files.write(file, bytes.array());
    assertThatThrownBy(() -> NpyFile.read(file))
        .hasMessageEndingWith("a header of 4294967295 bytes is more than 65536");
  }

  @Test
  void refusesTheWrongKindOfValues() {
    Path file = directory.resolve("x.npy");
    NpyFile.write(file, new long[] {1}, 1);
    assertThatThrownBy(() -> NpyFile.read(file).floats())
        .hasMessage(file + ": must be a float array, got i8");
    assertThatThrownBy(() -> NpyFile.write(file, new float[5], 2, 3))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> NpyFile.read(directory.resolve("absent.npy")))
        .hasMessageEndingWith("absent.npy: no such file or directory");
  }

  private static String dict(String descr, String fortranOrder, String shape) {
    return "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }"
        .formatted(descr, fortranOrder, shape);
  }

  private Path npy(int version, String dict, String hex) throws IOException {
    byte[] text = (dict + "\n").getBytes(StandardCharsets.UTF_8);
    byte[] data = HexFormat.of().parseHex(hex);
    ByteBuffer bytes =
        ByteBuffer.allocate(12 + text.length + data.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.put(new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', (byte) version, 0});
    if (version == 1) {
      bytes.putShort((short) text.length);
    } else {
      bytes.putInt(text.length);
    }
    bytes.put(text).put(data);
    return Files.write(directory.resolve("in.npy"), Arrays.copyOf(bytes.array(), bytes.position()));
  }
}
