package io.retort.bindings.jcuda;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.bindings.cuda.CudaLibrary;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/// What sets JCuda apart; its calls are tested beside Panama's.
final class JCudaDriverTest {

  @Test
  void nothingIsUnpackedWhereOthersCouldReplaceIt() {
    Path shared =
        Path.of(System.getProperty("java.io.tmpdir"), "libJCudaDriver-12.6.0-linux-x86_64.so");
    boolean before = Files.exists(shared);

    JCudaDriver.open(CudaLibrary.open(CudaLibrary.EMULATOR));

    assertThat(Files.exists(shared)).isEqualTo(before);
    assertThat(loaded()).isNotEmpty().noneMatch(shared::equals);
  }

  private static List<Path> loaded() {
    try (var maps = Files.lines(Path.of("/proc/self/maps"))) {
      return maps.filter(line -> line.contains("libJCudaDriver"))
          .map(line -> Path.of(line.substring(line.indexOf('/'))))
          .distinct()
          .toList();
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void noOtherPackageSeesJCuda() throws IOException {
    Path classes = Path.of("target", "classes", "io", "retort", "bindings");
    try (var files = Files.walk(classes)) {
      assertThat(
              files
                  .filter(file -> file.toString().endsWith(".class"))
                  .filter(file -> !file.startsWith(classes.resolve("jcuda")))
                  .filter(JCudaDriverTest::namesJCuda))
          .isEmpty();
    }
    assertThat(namesJCuda(classes.resolve("jcuda").resolve("JCudaDriver.class"))).isTrue();
  }

  private static boolean namesJCuda(Path file) {
    try {
      return new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1)
          .contains("jcuda/driver/");
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }
}
