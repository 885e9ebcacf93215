package io.retort;

import io.retort.backend.CpuBackend;
import io.retort.backend.CudaBackend;
import io.retort.backend.CudaBinding;
import io.retort.bindings.cuda.CudaLibrary;
import io.retort.op.Backend;
import java.util.Optional;

/// The CUDA device that tests run on: the emulator, unless `-Dretort.test.cuda` is `driver` for the
/// system's or names one by its path. Tests that make sense on any device have the tag `device`.
public final class CudaUnderTest {
  private static final Optional<String> NAMED =
      Optional.ofNullable(System.getProperty("retort.test.cuda"));

  private CudaUnderTest() {}

  public static CudaBackend open() {
    return open(CudaBinding.PANAMA);
  }

  public static CudaBackend open(CudaBinding binding) {
    String library = NAMED.orElse(CudaLibrary.EMULATOR);
    return CudaBackend.open(binding, library.equals("driver") ? null : library);
  }

  /// The device if one is named, else the CPU: for tests of more than the backend, which would take
  /// long on the emulator.
  public static Backend orCpu() {
    return NAMED.isPresent() ? open() : CpuBackend.open();
  }
}
