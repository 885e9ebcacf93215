package io.retort.bindings.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.bindings.NativeLinkError;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class CudaImagesTest {
  private static final Set<String> SHIPPED =
      Set.of("emulator", "sm_80", "sm_90a", "sm_120", "compute_80");

  @ParameterizedTest
  @CsvSource({
    "8, 0, sm_80",
    "8, 6, sm_80",
    "8, 9, sm_80",
    "9, 0, sm_90a",
    "10, 0, compute_80",
    "12, 0, sm_120",
    "12, 1, sm_120",
    "13, 0, compute_80",
  })
  void machineCodeComesBeforeCodeThatIsYetToBeCompiled(int major, int minor, String target) {
    assertThat(CudaImages.choose(SHIPPED, major, minor)).contains(target);
  }

  @Test
  void anOldDeviceRunsNothing() {
    assertThat(CudaImages.choose(SHIPPED, 7, 5)).isEmpty();
    assertThat(CudaImages.choose(Set.of("emulator"), 9, 0)).isEmpty();
    assertThat(CudaImages.choose(Set.of("sm_89", "sm_90a"), 8, 6)).isEmpty();
  }

  @Test
  void theEmulatorHasImages() {
    assertThat(CudaImages.targets()).contains("emulator");
    assertThat(CudaImages.read("emulator", "elementwise")).startsWith(0x7f, 'E', 'L', 'F');
  }

  @Test
  void whatWasNotCompiledIsNamed() {
    assertThatThrownBy(() -> CudaImages.read("emulator", "telepathy"))
        .isInstanceOf(NativeLinkError.class)
        .hasMessageContaining("built without emulator/telepathy.so");
  }
}
