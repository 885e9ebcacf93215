package io.retort.backend;

import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaException;
import io.retort.tensor.Memory;
import io.retort.tensor.TensorMemoryException;
import java.lang.foreign.MemorySegment;

/// Device memory for tensors, out of a [BlockPool].
///
/// Everything happens in the order of the context's stream, so a block that was given back may be
/// handed out again while kernels that use it are still queued. Writes return when they are queued,
/// reads wait. Work that is collected to be started together has its blocks in a [CudaArena].
public final class CudaMemory implements Memory, AutoCloseable {
  private static final String BUDGET_VARIABLE = "RETORT_CUDA_MEMORY_BYTES";

  private final CudaContext context;
  private final CudaDriver driver;
  private final CudaStaging staging;
  private final CudaQueue queue;
  private final BlockPool pool;
  private final CudaArena arena;
  private final BlockPool.Care care;

  CudaMemory(CudaContext context, long budget, BlockPool.Care care) {
    this.context = context;
    this.care = care;
    driver = context.driver();
    staging = context.staging();
    queue = context.queue();
    pool = new BlockPool(BUDGET_VARIABLE, budget, care, new DeviceBlocks());
    arena = new CudaArena(pool);
  }

  /// The device's memory: all of it, or as much as the environment says. The emulator watches
  /// blocks itself, unless `retort.exact=false` asks for a device's ways, to time them.
  static CudaMemory fromEnvironment(CudaContext context) {
    long budget =
        BlockPool.budget(
            BUDGET_VARIABLE, System.getenv(BUDGET_VARIABLE), context.device().memoryBytes());
    boolean watched =
        context.emulator().isPresent()
            && Boolean.parseBoolean(System.getProperty("retort.exact", "true"));
    var usual = watched ? BlockPool.Care.EXACT : BlockPool.Care.PLAIN;
    return new CudaMemory(context, budget, BlockPool.care(usual));
  }

  /// Memory for intermediate results of one call, of undefined contents and 64-byte aligned.
  ///
  /// Closed as soon as the last kernel that uses it is launched: whoever gets the block next comes
  /// later on the stream.
  record Scratch(CudaMemory memory, long address, long bytes) implements AutoCloseable {
    @Override
    public void close() {
      memory.free(address, bytes);
    }
  }

  Scratch scratch(long bytes) {
    return new Scratch(this, allocate(bytes), bytes);
  }

  private final class DeviceBlocks implements BlockPool.Source {
    @Override
    public long allocate(long bytes) {
      context.enter();
      try {
        return driver.memAllocAsync(bytes, context.stream());
      } catch (CudaException e) {
        if (e.status() == CudaException.OUT_OF_MEMORY) {
          context.synchronize(); // what was trimmed is free when the stream gets there
          return 0;
        }
        throw e;
      }
    }

    @Override
    public void free(long address, long bytes) {
      queue.flush(); // what is collected may use it
      context.enter();
      driver.memFreeAsync(address, context.stream());
    }

    @Override
    public void fill(long address, int value, long bytes) {
      context.enter();
      queue.fillBytes(address, (byte) value, bytes);
    }

    @Override
    public boolean holds(long address, int value, long bytes) {
      byte[] found = new byte[Math.toIntExact(bytes)];
      synchronized (CudaMemory.this) {
        context.enter();
        staging.download(address, MemorySegment.ofArray(found));
      }
      for (byte each : found) {
        if (each != (byte) value) {
          return false;
        }
      }
      return true;
    }

    @Override
    public String shortage() {
      var memory = driver.memGetInfo();
      return "%s has only %s of %s free"
          .formatted(
              context.device().name(),
              BlockPool.text(memory.free()),
              BlockPool.text(memory.total()));
    }
  }

  @Override
  public synchronized long allocate(long bytes) {
    try {
      return take(bytes);
    } catch (TensorMemoryException e) {
      if (arena.waitingBlocks() == 0) {
        throw e;
      }
      arena.trim();
      pool.trim();
      return take(bytes);
    }
  }

  private long take(long bytes) {
    return queue.collecting() ? arena.allocate(bytes) : pool.allocate(bytes);
  }

  @Override
  public synchronized void free(long address, long bytes) {
    if (!arena.free(address)) {
      pool.free(address, bytes);
    }
  }

  /// Gives every waiting block back to the driver.
  public void trim() {
    arena.trim();
    pool.trim();
    context.synchronize();
  }

  @Override
  public long liveBlocks() {
    return pool.liveBlocks() - arena.waitingBlocks();
  }

  @Override
  public long liveBytes() {
    return pool.liveBytes() - arena.waitingBytes();
  }

  @Override
  public long peakBytes() {
    return pool.peakBytes();
  }

  /// Bytes that wait in the pool for the next request of their size.
  public long waitingBytes() {
    return pool.waitingBytes() + arena.waitingBytes();
  }

  /// Two moments at which this is equal hand out the same blocks to the same requests of collected
  /// work.
  long arenaState() {
    return arena.state();
  }

  /// Whether blocks are filled with NaN when they are handed out.
  boolean poisoned() {
    return care == BlockPool.Care.POISONED;
  }

  /// Most bytes this pool will hold.
  public long budgetBytes() {
    return pool.budgetBytes();
  }

  @Override
  public void zero(long address, long bytes) {
    context.enter();
    queue.fillBytes(address, (byte) 0, bytes);
  }

  @Override
  public void copy(long from, long to, long bytes) {
    context.enter();
    queue.copy(to, from, bytes);
  }

  @Override
  public synchronized void write(long address, float[] source, int offset, int count) {
    if (count == 1) {
      context.enter();
      queue.write(address, Float.floatToRawIntBits(source[offset]));
    } else {
      upload(MemorySegment.ofArray(source), address, offset, count, Float.BYTES);
    }
  }

  @Override
  public void read(long address, float[] target, int offset, int count) {
    download(address, MemorySegment.ofArray(target), offset, count, Float.BYTES);
  }

  @Override
  public void write(long address, long[] source, int offset, int count) {
    upload(MemorySegment.ofArray(source), address, offset, count, Long.BYTES);
  }

  @Override
  public void read(long address, long[] target, int offset, int count) {
    download(address, MemorySegment.ofArray(target), offset, count, Long.BYTES);
  }

  @Override
  public synchronized void write(long address, MemorySegment source) {
    context.enter();
    queue.upload(source, address);
  }

  @Override
  public void write(long address, byte[] source, int offset, int count) {
    upload(MemorySegment.ofArray(source), address, offset, count, Byte.BYTES);
  }

  @Override
  public void read(long address, byte[] target, int offset, int count) {
    download(address, MemorySegment.ofArray(target), offset, count, Byte.BYTES);
  }

  private synchronized void upload(
      MemorySegment source, long address, long offset, long count, int bytes) {
    context.enter();
    queue.upload(source.asSlice(offset * bytes, count * bytes), address);
  }

  private synchronized void download(
      long address, MemorySegment target, long offset, long count, int bytes) {
    context.enter();
    staging.download(address, target.asSlice(offset * bytes, count * bytes));
    context.faults().check();
  }

  @Override
  public void close() {
    trim();
  }
}
