package io.retort.bindings.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.bindings.NativeLinkError;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class CudaLibraryTest {

  @Test
  void aProcessHasOneLibrary(@TempDir Path folder) throws Exception {
    var library = CudaLibrary.open(CudaLibrary.EMULATOR);
    var other = Files.createFile(folder.resolve("libcuda.so.1")).toString();

    assertThat(CudaLibrary.open(CudaLibrary.EMULATOR)).isSameAs(library);
    assertThat(CudaLibrary.opened()).isSameAs(library);
    assertThatThrownBy(() -> CudaLibrary.open(other))
        .isInstanceOf(NativeLinkError.class)
        .hasMessage("CUDA library %s cannot be used, this process uses emulator".formatted(other));
  }

  @Test
  void aFileThatIsNotThereIsNamed() {
    assertThatThrownBy(() -> CudaLibrary.open("/nowhere/libcuda.so.1"))
        .isInstanceOf(NativeLinkError.class)
        .hasMessage("CUDA library /nowhere/libcuda.so.1: there is no such file");
  }

  @Test
  void aFunctionThatIsNotThereIsNamed() {
    var library = CudaLibrary.open(CudaLibrary.EMULATOR);

    assertThatThrownBy(() -> library.symbol("cuTeleport"))
        .isInstanceOf(NativeLinkError.class)
        .hasMessage(
            "emulator has no cuTeleport: it is no CUDA driver, or one older than CUDA 12.4");
  }
}
