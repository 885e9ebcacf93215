package io.retort.bindings;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Instant;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NativeStoreTest {
  private static final String LIBRARY = "natives/linux-x86_64/libtest.so";
  private static final byte[] CONTENT = "machine code".getBytes(StandardCharsets.UTF_8);

  @TempDir private Path cache;
  private final Jar jar = new Jar();

  /// A jar over a map that counts how often the library was read.
  private static final class Jar implements NativeStore.Jar {
    final Map<String, byte[]> entries = new HashMap<>();
    int reads;

    @Override
    public @Nullable InputStream open(String name) {
      if (name.equals(LIBRARY)) {
        reads++;
      }
      var bytes = entries.get(name);
      return bytes == null ? null : new ByteArrayInputStream(bytes);
    }
  }

  @BeforeEach
  void fillJar() throws NoSuchAlgorithmException {
    var sha256 = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(CONTENT));
    var line = "%s  %d  %s\n".formatted(sha256, CONTENT.length, LIBRARY);
    jar.entries.put("sums", line.getBytes(StandardCharsets.UTF_8));
    jar.entries.put(LIBRARY, CONTENT);
  }

  @Test
  void aLibraryIsUnpackedOnce() throws IOException {
    var file = store().unpack("libtest.so");
    var again = store().unpack("libtest.so");

    assertThat(again).isEqualTo(file).hasBinaryContent(CONTENT);
    assertThat(jar.reads).isEqualTo(1);
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
        .isEqualTo("rwx------");
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file.getParent())))
        .isEqualTo("rwx------");
  }

  @Test
  void aFileThatChangedIsReplaced() throws IOException {
    var file = store().unpack("libtest.so");
    Files.writeString(file, "MACHINE CODE");
    Files.setLastModifiedTime(file, FileTime.from(Instant.EPOCH));

    assertThat(store().unpack("libtest.so")).hasBinaryContent(CONTENT);
    assertThat(jar.reads).isEqualTo(2);
  }

  @Test
  void aTruncatedFileIsReplaced() throws IOException {
    var file = store().unpack("libtest.so");
    Files.writeString(file, "mach");

    assertThat(store().unpack("libtest.so")).hasBinaryContent(CONTENT);
  }

  @Test
  void aTouchedFileIsReadAgainButKept() throws IOException {
    var file = store().unpack("libtest.so");
    Files.setLastModifiedTime(file, FileTime.from(Instant.EPOCH));

    store().unpack("libtest.so");

    assertThat(jar.reads).isEqualTo(1);
  }

  @Test
  void aLinkIsNeverFollowed() throws IOException {
    var file = store().unpack("libtest.so");
    var elsewhere = Files.write(cache.resolve("elsewhere.so"), CONTENT);
    Files.delete(file);
    Files.createSymbolicLink(file, elsewhere);

    assertThat(store().unpack("libtest.so")).isRegularFile();
    assertThat(Files.isSymbolicLink(file)).isFalse();
  }

  @Test
  void othersLoseTheirAccessToTheDirectory() throws IOException {
    var directory = cache.resolve("retort");
    Files.createDirectory(directory);
    Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwxrwxrwx"));

    store().unpack("libtest.so");

    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(directory)))
        .isEqualTo("rwx------");
  }

  @Test
  void aDamagedJarIsRefusedAndLeavesNothing() throws IOException {
    jar.entries.put(LIBRARY, "other bytes!".getBytes(StandardCharsets.UTF_8));

    assertThatThrownBy(() -> store().unpack("libtest.so"))
        .isInstanceOf(NativeLinkError.class)
        .hasMessageContaining("libtest.so could not be unpacked")
        .hasMessageContaining("the build recorded");
    try (var left = Files.walk(cache)) {
      assertThat(left.filter(Files::isRegularFile)).isEmpty();
    }
  }

  @Test
  void aLibraryThatWasNotBuiltIsNamed() {
    assertThat(store().has("libother.so")).isFalse();
    assertThatThrownBy(() -> store().unpack("libother.so"))
        .isInstanceOf(NativeLinkError.class)
        .hasMessageContaining("built without libother.so");
  }

  @Test
  void contentsAreComparedWithTheirChecksumToo() {
    assertThat(store().names()).containsExactly("libtest.so");
    assertThat(store().read("libtest.so")).isEqualTo(CONTENT);

    jar.entries.put(LIBRARY, "other bytes!".getBytes(StandardCharsets.UTF_8));

    assertThatThrownBy(() -> store().read("libtest.so"))
        .isInstanceOf(NativeLinkError.class)
        .hasMessageContaining("libtest.so could not be read")
        .hasMessageContaining("the build recorded");
  }

  @Test
  void anUnusableCacheFallsBackToTheTemporaryDirectory() throws IOException {
    var blocked = Files.createFile(cache.resolve("file"));
    var environment = Map.of("XDG_CACHE_HOME", blocked.toString(), "HOME", blocked.toString());

    var file = NativeStore.open(jar, "sums", "linux-x86_64/", environment).unpack("libtest.so");

    assertThat(file).startsWith(Path.of(System.getProperty("java.io.tmpdir")));
    Files.delete(file.resolveSibling("libtest.so.receipt"));
    Files.delete(file);
    Files.delete(file.getParent());
  }

  private NativeStore store() {
    return NativeStore.open(
        jar, "sums", "linux-x86_64/", Map.of("XDG_CACHE_HOME", cache.toString()));
  }
}
