package io.retort.backend;

import io.retort.bindings.cuda.CudaLibrary;

/// [RandomStreams] on the emulated device.
final class CudaRandomTest extends RandomStreams {
  CudaRandomTest() {
    super(CudaBackend.open(CudaBinding.PANAMA, CudaLibrary.EMULATOR));
  }
}
