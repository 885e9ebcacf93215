package io.retort.tensor;

/// A counted block of memory that a tensor and its views share.
final class Storage {
  final Memory memory;
  final long address;
  private final long bytes;
  private int owners = 1;

  Storage(Memory memory, long bytes) {
    this.memory = memory;
    this.bytes = bytes;
    this.address = memory.allocate(bytes);
  }

  void retain() {
    owners++;
  }

  void release() {
    if (--owners == 0) {
      memory.free(address, bytes);
    }
  }
}
