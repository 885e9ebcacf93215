package io.retort.backend;

/// [RandomStreams] on the CPU.
final class CpuRandomTest extends RandomStreams {
  CpuRandomTest() {
    super(CpuBackend.open());
  }
}
