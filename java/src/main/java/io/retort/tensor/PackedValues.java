package io.retort.tensor;

import java.util.HashMap;
import java.util.Map;
import java.util.function.LongConsumer;

/// What kernels have made of a storage's values to read them faster: other layouts of them, kept
/// while the values stay the same.
///
/// The first requests since the values were written are only counted: weights in training are read
/// a few times and written again, and to touch fresh memory costs about as much as eight calls
/// save. Blocks of values that have changed are given back when these are next asked for.
final class PackedValues {
  /// Requests that are only counted.
  static final int PATIENCE = 8;

  private final Memory memory;
  private final Map<Key, Block> blocks = new HashMap<>();

  /// @param address of the first value
  /// @param layout a kernel's number for it
  record Key(long address, long layout) {}

  /// One layout of some values.
  private static final class Block {
    /// 0 where there is none.
    private long address;

    private long bytes;

    /// Writes before it was last asked for.
    private long write = -1;

    /// How often it was asked for since.
    private int requests;
  }

  PackedValues(Memory memory) {
    this.memory = memory;
  }

  /// Address of a block that holds the values as they are after `write` writes, or 0.
  long address(Key key, long write, long bytes, LongConsumer pack) {
    Block block = blocks.computeIfAbsent(key, missing -> new Block());
    if (block.write != write) {
      free(block);
      block.write = write;
      block.requests = 0;
    }
    if (block.address == 0 && block.requests++ >= PATIENCE) {
      block.bytes = bytes;
      block.address = memory.spare(bytes);
      if (block.address != 0) {
        pack.accept(block.address);
      }
    }
    return block.address;
  }

  private void free(Block block) {
    if (block.address != 0) {
      memory.freeSpare(block.address, block.bytes);
      block.address = 0;
    }
  }

  void free() {
    blocks.values().forEach(this::free);
    blocks.clear();
  }
}
