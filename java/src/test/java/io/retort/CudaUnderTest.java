package io.retort;

import io.retort.backend.CudaBackend;
import io.retort.backend.CudaBinding;
import io.retort.bindings.cuda.CudaLibrary;

/// The CUDA device that tests run on: the emulator, unless `-Dretort.test.cuda` is `driver` for the
/// system's or names one by its path. Tests that make sense on any device have the tag `device`.
public final class CudaUnderTest {
  private static final String LIBRARY =
      System.getProperty("retort.test.cuda", CudaLibrary.EMULATOR);

  private CudaUnderTest() {}

  public static CudaBackend open() {
    return open(CudaBinding.PANAMA);
  }

  public static CudaBackend open(CudaBinding binding) {
    return CudaBackend.open(binding, LIBRARY.equals("driver") ? null : LIBRARY);
  }
}
