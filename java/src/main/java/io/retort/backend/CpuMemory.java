package io.retort.backend;

import io.retort.bindings.cpu.HostMemory;
import io.retort.bindings.cpu.PackedLayout;
import io.retort.tensor.Memory;
import io.retort.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/// Host memory for tensors, out of a [BlockPool], and for packed weights, out of another.
public final class CpuMemory implements Memory {
  private static final String BUDGET_VARIABLE = "RETORT_MEMORY_BYTES";
  private static final String SPARE_VARIABLE = "RETORT_PACKED_BYTES";

  /// What the budget is to what is spared where the environment does not say.
  private static final int SPARED = 8;

  private final BlockPool pool;
  private final BlockPool spare;

  /// A pool that holds at most `budget` bytes, blocks in use and waiting ones together, and one
  /// that holds `spared`.
  CpuMemory(long budget, long spared, BlockPool.Care care) {
    pool = new BlockPool(BUDGET_VARIABLE, budget, care, new HostBlocks());
    spare = new BlockPool(SPARE_VARIABLE, spared, care, new HostBlocks());
  }

  /// The pools of this process: three quarters of physical memory and an eighth of that, or what
  /// the environment says.
  static CpuMemory fromEnvironment() {
    long budget = budget(System.getenv(BUDGET_VARIABLE), HostMemory.physicalBytes());
    return new CpuMemory(
        budget,
        spared(System.getenv(SPARE_VARIABLE), budget),
        BlockPool.care(BlockPool.Care.PLAIN));
  }

  /// Bytes for packed weights: what was asked for, 0 for none, or a part of the budget.
  static long spared(@Nullable String wanted, long budget) {
    return "0".equals(wanted) ? 0 : BlockPool.budget(SPARE_VARIABLE, wanted, budget / SPARED);
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

  @Override
  public long spare(long bytes) {
    return spare.tryAllocate(bytes);
  }

  @Override
  public void freeSpare(long address, long bytes) {
    spare.free(address, bytes);
  }

  /// The block of a weight that is laid out, or 0 where a call had better read it as it is; `pack`
  /// fills the block.
  static long packed(Tensor weight, PackedLayout layout, LongConsumer pack) {
    return layout.number() == 0 ? 0 : weight.packed(layout.number(), layout.bytes(), pack);
  }

  /// Bytes of packed weights.
  public long packedBytes() {
    return spare.liveBytes();
  }

  /// Gives every waiting block back to the system.
  public void trim() {
    pool.trim();
    spare.trim();
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
