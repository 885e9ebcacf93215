package io.retort.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

class TarReaderTest {
  private static final byte[] HELLO = "hello".getBytes(StandardCharsets.UTF_8);

  @Test
  void takesWantedFilesAndSkipsTheRest() throws IOException {
    byte[] tar =
        tar(entry("a/readme", "", '0', new byte[700]), entry("data/x", "", '0', HELLO), end());

    var files = extract(tar, "data/x");

    assertThat(files).containsOnlyKeys("data/x");
    assertThat(files.get("data/x")).isEqualTo(HELLO);
  }

  @Test
  void joinsTheUstarPrefix() throws IOException {
    byte[] tar = tar(entry("x", "very/long/folder", '0', HELLO), end());

    String path = "very/long/folder/x";
    assertThat(extract(tar, path).get(path)).isEqualTo(HELLO);
  }

  @Test
  void aLinkIsNotTheFile() {
    byte[] tar = tar(entry("data/x", "", '2', new byte[0]), end());

    assertThatThrownBy(() -> extract(tar, "data/x"))
        .hasMessage("test.tgz: must contain data/x, which is missing");
  }

  @Test
  void rejectsDamagedHeaders() {
    byte[] checksum = entry("data/x", "", '0', HELLO);
    checksum[3] ^= 1;
    assertThatThrownBy(() -> extract(tar(checksum, end()), "data/x"))
        .hasMessageContaining("checksum does not match");

    byte[] number = entry("data/x", "", '0', HELLO);
    number[148] = '9';
    assertThatThrownBy(() -> extract(tar(number, end()), "data/x"))
        .hasMessageContaining("numbers are not octal");
  }

  @Test
  void rejectsTruncation() {
    byte[] whole = tar(entry("data/x", "", '0', new byte[2000]));
    for (int length : new int[] {0, 100, 512, 1000}) {
      assertThatThrownBy(() -> extract(Arrays.copyOf(whole, length), "data/x"))
          .isInstanceOf(DataException.class);
    }
    assertThatThrownBy(() ->
            TarReader.extract(
                "test.tgz", new ByteArrayInputStream(new byte[] {1, 2, 3}), Set.of("x")))
        .hasMessage("test.tgz: is not a sound gzip file");
  }

  @Test
  void rejectsMoreThanTheLimits() {
    var huge = entry("data/x", "", '0', new byte[0]);
    System.arraycopy("77777777777".getBytes(StandardCharsets.US_ASCII), 0, huge, 124, 11);
    seal(huge);
    assertThatThrownBy(() -> extract(tar(huge), "data/x"))
        .hasMessageContaining("at most 1000 entries and 1073741824 bytes");

    var many = new byte[1001][];
    Arrays.fill(many, entry("other", "", '0', new byte[0]));
    assertThatThrownBy(() -> extract(tar(many), "data/x"))
        .hasMessageContaining("at most 1000 entries");
  }

  private static Map<String, byte[]> extract(byte[] tar, String... wanted) throws IOException {
    return TarReader.extract(
        "test.tgz", new ByteArrayInputStream(IdxFileTest.gzip(tar)), Set.of(wanted));
  }

  static byte[] tar(byte[]... pieces) {
    var out = new ByteArrayOutputStream();
    for (byte[] piece : pieces) {
      out.writeBytes(piece);
    }
    return out.toByteArray();
  }

  static byte[] end() {
    return new byte[1024];
  }

  static byte[] entry(String name, String prefix, char type, byte[] content) {
    var block = new byte[512 + (content.length + 511) / 512 * 512];
    put(block, 0, name);
    put(block, 124, "%011o".formatted(content.length));
    block[156] = (byte) type;
    put(block, 257, "ustar");
    put(block, 345, prefix);
    System.arraycopy(content, 0, block, 512, content.length);
    seal(block);
    return block;
  }

  private static void seal(byte[] block) {
    Arrays.fill(block, 148, 156, (byte) ' ');
    int sum = 0;
    for (int i = 0; i < 512; i++) {
      sum += Byte.toUnsignedInt(block[i]);
    }
    put(block, 148, "%06o\0 ".formatted(sum));
  }

  private static void put(byte[] block, int offset, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.ISO_8859_1);
    System.arraycopy(bytes, 0, block, offset, bytes.length);
  }
}
