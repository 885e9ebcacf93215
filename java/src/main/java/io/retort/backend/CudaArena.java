package io.retort.backend;

import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import java.util.PriorityQueue;

/// The memory of work that comes again: blocks are kept, and of those that wait the oldest of its
/// size serves a request.
///
/// Which block that is follows from the blocks in use alone, not from the order in which others
/// were given back, so work that asks for the same sizes in the same order finds its tensors where
/// they were the last time. Not for several threads.
final class CudaArena {

  /// @param age counts blocks in the order in which they were made
  private record Block(long address, long bytes, int age) implements Comparable<Block> {
    @Override
    public int compareTo(Block other) {
      return Integer.compare(age, other.age);
    }
  }

  private static final long MIX = 0x9E3779B97F4A7C15L;

  private final BlockPool source;
  private final Map<Long, PriorityQueue<Block>> waiting = new HashMap<>();
  private final Map<Long, Block> used = new HashMap<>();
  private int made;
  private long waitingBlocks;
  private long waitingBytes;

  /// Of the blocks in use, a bit pattern each.
  private long state;

  private long trims;

  /// @param source where blocks come from, of the sizes of [BlockPool#rounded]
  CudaArena(BlockPool source) {
    this.source = source;
  }

  long allocate(long bytes) {
    long size = BlockPool.rounded(bytes);
    PriorityQueue<Block> ready = waiting.get(size);
    Block block;
    if (ready != null && !ready.isEmpty()) {
      block = ready.poll();
      waitingBlocks--;
      waitingBytes -= size;
    } else {
      block = new Block(source.allocate(size), size, made++);
    }
    used.put(key(block.address), block);
    state ^= pattern(block);
    return block.address;
  }

  /// Takes a block back if it is one of this arena.
  boolean free(long address) {
    Block block = used.remove(key(address));
    if (block == null) {
      return false;
    }
    state ^= pattern(block);
    waiting.computeIfAbsent(block.bytes, size -> new PriorityQueue<>()).add(block);
    waitingBlocks++;
    waitingBytes += block.bytes;
    return true;
  }

  /// Addresses differ in their high bits most, the map looks at the low ones.
  private static long key(long address) {
    return address * MIX;
  }

  private static long pattern(Block block) {
    long bits = (block.age + 1) * MIX;
    bits = (bits ^ bits >>> 32) * MIX;
    return bits ^ bits >>> 29;
  }

  /// A number for the set of blocks in use; the same set has the same number until a [#trim].
  long state() {
    return state ^ trims * MIX;
  }

  /// Gives the waiting blocks back to where they came from.
  void trim() {
    trims++;
    var blocks = new ArrayDeque<Block>();
    waiting.values().forEach(blocks::addAll);
    waiting.clear();
    waitingBlocks = 0;
    waitingBytes = 0;
    blocks.forEach(block -> source.free(block.address, block.bytes));
  }

  long waitingBlocks() {
    return waitingBlocks;
  }

  long waitingBytes() {
    return waitingBytes;
  }
}
