package io.retort.tensor;

import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/// A counted block of memory that a tensor and its views share, and what it looks like packed.
final class Storage {
  final Memory memory;
  final long address;
  private final long bytes;
  private int owners = 1;
  private long writes;
  private @Nullable PackedValues packed;

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
      free();
    }
  }

  private synchronized void free() {
    if (packed != null) {
      packed.free();
      packed = null;
    }
  }

  /// Says that the contents have changed.
  synchronized void written() {
    writes++;
  }

  /// As [Tensor#packed], of the values from `address` on. Several threads may ask at a time: one of
  /// them packs.
  synchronized long packed(long address, long layout, long bytes, LongConsumer pack) {
    if (packed == null) {
      packed = new PackedValues(memory);
    }
    return packed.address(new PackedValues.Key(address, layout), writes, bytes, pack);
  }
}
