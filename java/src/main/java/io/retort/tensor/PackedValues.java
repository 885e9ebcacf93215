package io.retort.tensor;

import java.util.HashMap;
import java.util.Map;
import java.util.function.LongConsumer;

/// What kernels have made of a storage's values to read them faster: other layouts of them, kept
/// while the values stay the same.
///
/// The first request since the values were written only leaves a note: weights in training are read
/// once and written again, and a block that is used once costs more than it saves. Values that have
/// changed are packed again into the same block.
final class PackedValues {
  /// Requests that are not served.
  private static final int PATIENCE = 8;

  private final Memory memory;
  private final Map<Key, Block> blocks = new HashMap<>();

  /// @param address of the first value
  /// @param layout a kernel's number for it
  record Key(long address, long layout) {}

  /// One layout of some values.
  private static final class Block {
    private long address;
    private long bytes;

    /// The write after which it was last asked for, how often since, and whether it is packed.
    private long write = -1;

    private int requests;
    private boolean current;
  }

  PackedValues(Memory memory) {
    this.memory = memory;
  }

  /// Address of a block that holds the values as they are after `write` writes, or 0.
  long address(Key key, long write, long bytes, LongConsumer pack) {
    Block block = blocks.computeIfAbsent(key, missing -> new Block());
    if (block.write != write) {
      block.write = write;
      block.requests = 0;
      block.current = false;
    }
    if (!block.current) {
      if (block.requests++ < PATIENCE) {
        return 0;
      }
      if (block.address == 0) {
        block.address = memory.spare(bytes);
        block.bytes = bytes;
      }
      if (block.address == 0) {
        return 0;
      }
      pack.accept(block.address);
      block.current = true;
    }
    return block.address;
  }

  void free() {
    for (Block block : blocks.values()) {
      if (block.address != 0) {
        memory.freeSpare(block.address, block.bytes);
      }
    }
    blocks.clear();
  }
}
