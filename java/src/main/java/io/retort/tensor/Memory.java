package io.retort.tensor;

import java.lang.foreign.MemorySegment;

/// A device's memory: a caching pool of raw blocks, and the copies between it and Java arrays.
///
/// One instance a device and process. Blocks are at least 64-byte aligned and uninitialised. Safe
/// for use by several threads. Addresses mean something only to the backend that owns this memory.
public interface Memory {

  /// Takes a block of at least `bytes` bytes from the pool.
  ///
  /// @throws TensorMemoryException if the device or the configured budget is exhausted
  long allocate(long bytes);

  /// Gives a block back; `bytes` as it was asked for.
  void free(long address, long bytes);

  /// Takes a block for what can be done without, outside the budget of [#allocate]; 0 where there
  /// is none to spare.
  default long spare(long bytes) {
    return 0;
  }

  /// Gives a block of [#spare] back; `bytes` as it was asked for.
  default void freeSpare(long address, long bytes) {
    throw new IllegalStateException("memory: has no blocks to spare");
  }

  /// Blocks handed out and not yet given back: 0 when nothing leaks.
  long liveBlocks();

  /// Bytes handed out and not yet given back.
  long liveBytes();

  /// Most bytes ever handed out at once.
  long peakBytes();

  /// Fills `bytes` bytes with zero.
  void zero(long address, long bytes);

  /// Copies `bytes` bytes inside this memory; ranges must not overlap.
  void copy(long from, long to, long bytes);

  /// Copies `count` floats from a Java array into memory.
  void write(long address, float[] source, int offset, int count);

  /// Copies `count` floats from memory into a Java array; waits for pending work.
  void read(long address, float[] target, int offset, int count);

  /// Copies `count` longs from a Java array into memory.
  void write(long address, long[] source, int offset, int count);

  /// Copies `count` longs from memory into a Java array; waits for pending work.
  void read(long address, long[] target, int offset, int count);

  /// Copies all bytes of a segment, such as a part of a mapped file, into memory.
  void write(long address, MemorySegment source);

  /// Copies raw bytes from a Java array into memory.
  void write(long address, byte[] source, int offset, int count);

  /// Copies raw bytes from memory into a Java array; waits for pending work.
  void read(long address, byte[] target, int offset, int count);
}
