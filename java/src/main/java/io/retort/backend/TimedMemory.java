package io.retort.backend;

import io.retort.tensor.Memory;
import java.lang.foreign.MemorySegment;

/// Memory of a [KernelProfile]: what moves bytes is timed, handing out blocks is not, for a pool
/// does it in Java.
///
/// @param pool hands out blocks
/// @param timed the same memory, timed
record TimedMemory(Memory pool, Memory timed) implements Memory {

  @Override
  public long allocate(long bytes) {
    return pool.allocate(bytes);
  }

  @Override
  public void free(long address, long bytes) {
    pool.free(address, bytes);
  }

  @Override
  public long spare(long bytes) {
    return pool.spare(bytes);
  }

  @Override
  public void freeSpare(long address, long bytes) {
    pool.freeSpare(address, bytes);
  }

  @Override
  public long liveBlocks() {
    return pool.liveBlocks();
  }

  @Override
  public long liveBytes() {
    return pool.liveBytes();
  }

  @Override
  public long peakBytes() {
    return pool.peakBytes();
  }

  @Override
  public void zero(long address, long bytes) {
    timed.zero(address, bytes);
  }

  @Override
  public void copy(long from, long to, long bytes) {
    timed.copy(from, to, bytes);
  }

  @Override
  public void write(long address, float[] source, int offset, int count) {
    timed.write(address, source, offset, count);
  }

  @Override
  public void read(long address, float[] target, int offset, int count) {
    timed.read(address, target, offset, count);
  }

  @Override
  public void write(long address, long[] source, int offset, int count) {
    timed.write(address, source, offset, count);
  }

  @Override
  public void read(long address, long[] target, int offset, int count) {
    timed.read(address, target, offset, count);
  }

  @Override
  public void write(long address, MemorySegment source) {
    timed.write(address, source);
  }

  @Override
  public void write(long address, byte[] source, int offset, int count) {
    timed.write(address, source, offset, count);
  }

  @Override
  public void read(long address, byte[] target, int offset, int count) {
    timed.read(address, target, offset, count);
  }
}
