package io.retort.backend;

import io.retort.CudaUnderTest;
import org.junit.jupiter.api.Tag;

/// [RandomStreams] on the emulated device.
@Tag("device")
final class CudaRandomTest extends RandomStreams {
  CudaRandomTest() {
    super(CudaUnderTest.open());
  }
}
