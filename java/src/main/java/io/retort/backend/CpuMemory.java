package io.retort.backend;

import io.retort.bindings.cpu.HostMemory;
import io.retort.tensor.Memory;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/// Host memory for tensors, out of a [BlockPool].
public final class CpuMemory implements Memory {
  private static final String BUDGET_VARIABLE = "RETORT_MEMORY_BYTES";

  private final BlockPool pool;

  /// A pool that holds at most `budget` bytes, blocks in use and waiting ones together.
  CpuMemory(long budget, BlockPool.Care care) {
    pool = new BlockPool(BUDGET_VARIABLE, budget, care, new HostBlocks());
  }

  /// The pool of this process: three quarters of physical memory, or what the environment says.
  static CpuMemory fromEnvironment() {
    return new CpuMemory(
        budget(System.getenv(BUDGET_VARIABLE), HostMemory.physicalBytes()),
        BlockPool.care(BlockPool.Care.PLAIN));
  }

  static long budget(@Nullable String wanted, long physicalBytes) {
    return BlockPool.budget(BUDGET_VARIABLE, wanted, physicalBytes / 4 * 3);
  }

  private static final class HostBlocks implements BlockPool.Source {
    @Override
    public long allocate(long bytes) {
      return HostMemory.allocate(bytes);
    }

    @Override
    public void free(long address, long bytes) {
      HostMemory.free(address, bytes);
    }

    @Override
    public void fill(long address, int value, long bytes) {
      HostMemory.fill(address, value, bytes);
    }

    @Override
    public boolean holds(long address, int value, long bytes) {
      return HostMemory.holds(address, value, bytes);
    }

    @Override
    public String shortage() {
      return "the system has no such block left";
    }
  }

  @Override
  public long allocate(long bytes) {
    return pool.allocate(bytes);
  }

  @Override
  public void free(long address, long bytes) {
    pool.free(address, bytes);
  }

  /// Gives every waiting block back to the system.
  public void trim() {
    pool.trim();
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

  /// Bytes that wait in the pool for the next request of their size.
  public long waitingBytes() {
    return pool.waitingBytes();
  }

  /// Most bytes this pool will hold.
  public long budgetBytes() {
    return pool.budgetBytes();
  }

  @Override
  public void zero(long address, long bytes) {
    HostMemory.fill(address, 0, bytes);
  }

  @Override
  public void copy(long from, long to, long bytes) {
    HostMemory.copy(from, to, bytes);
  }

  @Override
  public void write(long address, float[] source, int offset, int count) {
    HostMemory.write(address, source, offset, count);
  }

  @Override
  public void read(long address, float[] target, int offset, int count) {
    HostMemory.read(address, target, offset, count);
  }

  @Override
  public void write(long address, long[] source, int offset, int count) {
    HostMemory.write(address, source, offset, count);
  }

  @Override
  public void read(long address, long[] target, int offset, int count) {
    HostMemory.read(address, target, offset, count);
  }

  @Override
  public void write(long address, MemorySegment source) {
    HostMemory.write(address, source);
  }

  @Override
  public void write(long address, byte[] source, int offset, int count) {
    HostMemory.write(address, source, offset, count);
  }

  @Override
  public void read(long address, byte[] target, int offset, int count) {
    HostMemory.read(address, target, offset, count);
  }
}
