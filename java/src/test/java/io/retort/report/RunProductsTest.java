package io.retort.report;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.backend.CpuBackend;
import io.retort.backend.CudaBackend;
import io.retort.backend.CudaBinding;
import io.retort.backend.GemmPolicy;
import io.retort.bindings.cuda.CudaLibrary;
import io.retort.op.Backend;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// What a run says where it cannot choose as it did before.
final class RunProductsTest {
  @TempDir private Path folder;

  @Test
  void aRunWithoutChoicesHasNoTable() {
    Backend cpu = CpuBackend.open();
    try (RunDirectory directory = RunDirectory.create(folder)) {
      RunProducts.save(directory, cpu);

      assertThat(directory.file(RunDirectory.PRODUCTS)).doesNotExist();
      assertThat(RunProducts.restore(directory, cpu)).isEmpty();
    }
  }

  @ParameterizedTest
  @EnumSource(GemmPolicy.class)
  void choicesOfAnotherDeviceAreNotTakenSilently(GemmPolicy policy) {
    Backend cuda = CudaBackend.open(CudaBinding.PANAMA, CudaLibrary.EMULATOR, policy);
    try (RunDirectory directory = RunDirectory.create(folder)) {
      RunProducts.save(directory, cuda);
      assertThat(directory.file(RunDirectory.PRODUCTS)).doesNotExist();
      directory.write(
          RunDirectory.PRODUCTS,
          "# Who multiplied what, microseconds each; measured on another device\n");

      assertThat(RunProducts.restore(directory, cuda).orElseThrow())
          .startsWith(directory.file(RunDirectory.PRODUCTS) + " is not for this device")
          .endsWith("results will not be the same to the last bit");
    }
  }
}
