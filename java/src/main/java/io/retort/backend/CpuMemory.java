package io.retort.backend;

import io.retort.bindings.cpu.HostMemory;
import io.retort.tensor.Memory;
import io.retort.tensor.TensorMemoryException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// Host memory for tensors: a caching pool under a byte budget.
///
/// A training step asks for the same sizes again and again, so given-back blocks wait in one list a
/// size and are handed out whole. Sizes are rounded up by at most 1/16 or 64 bytes, large ones to
/// whole huge pages, which is what they occupy anyway. When the budget is reached, waiting blocks
/// go back to the system first; only then does an allocation fail.
///
/// With the system property `retort.poison=true` every block handed out is filled with NaN (0xFF
/// bytes) and followed by a guard that is checked when it comes back: a kernel that reads what
/// nobody wrote, or writes past its end, is found.
public final class CpuMemory implements Memory {
  private static final String BUDGET_VARIABLE = "RETORT_MEMORY_BYTES";
  private static final int POISON = 0xFF;
  private static final int GUARD = 0xA5;
  private static final long GUARD_BYTES = 64;
  private static final long GRAIN = 64;
  private static final long HUGE_PAGE = 2 << 20;

  private final long budget;
  private final boolean poison;
  private final Map<Long, Blocks> waiting = new HashMap<>();
  private long liveBlocks;
  private long liveBytes;
  private long peakBytes;
  private long waitingBytes;

  /// A pool that holds at most `budget` bytes, blocks in use and waiting ones together.
  CpuMemory(long budget, boolean poison) {
    this.budget = budget;
    this.poison = poison;
  }

  /// The pool of this process: three quarters of physical memory, or what the environment says.
  static CpuMemory fromEnvironment() {
    return new CpuMemory(
        budget(System.getenv(BUDGET_VARIABLE), HostMemory.physicalBytes()),
        Boolean.getBoolean("retort.poison"));
  }

  static long budget(@Nullable String wanted, long physicalBytes) {
    if (wanted == null) {
      return physicalBytes / 4 * 3;
    }
    try {
      long bytes = Long.parseLong(wanted);
      if (bytes > 0) {
        return bytes;
      }
    } catch (NumberFormatException e) {
      // said below
    }
    throw new TensorMemoryException(
        BUDGET_VARIABLE + " must be a positive number of bytes, got " + wanted);
  }

  @Override
  public synchronized long allocate(long bytes) {
    if (bytes > budget) {
      throw exhausted(bytes, "that is more than the whole budget of " + text(budget));
    }
    long size = size(bytes);
    var blocks = waiting.get(size);
    long address;
    if (blocks != null && blocks.count > 0) {
      address = blocks.pop();
      waitingBytes -= size;
    } else {
      address = fresh(bytes, size);
    }
    liveBlocks++;
    liveBytes += size;
    peakBytes = Math.max(peakBytes, liveBytes);
    if (poison) {
      HostMemory.fill(address, POISON, bytes);
      HostMemory.fill(address + bytes, GUARD, size - bytes);
    }
    return address;
  }

  private long fresh(long bytes, long size) {
    if (liveBytes + waitingBytes + size > budget) {
      trim();
    }
    if (liveBytes + size > budget) {
      throw exhausted(bytes, "the whole budget is " + text(budget));
    }
    long address = HostMemory.allocate(size);
    if (address == 0) {
      trim();
      address = HostMemory.allocate(size);
    }
    if (address == 0) {
      throw exhausted(bytes, "the system has no such block left");
    }
    return address;
  }

  private TensorMemoryException exhausted(long bytes, String why) {
    return new TensorMemoryException(
        "memory: asked for %s with %s in use and %s of the budget free, but %s; lower the batch size or the network's channels, or raise %s"
            .formatted(
                text(bytes),
                text(liveBytes),
                text(Math.max(0, budget - liveBytes)),
                why,
                BUDGET_VARIABLE));
  }

  @Override
  public synchronized void free(long address, long bytes) {
    long size = size(bytes);
    if (poison && !HostMemory.holds(address + bytes, GUARD, size - bytes)) {
      throw new IllegalStateException(
          "memory: something was written past the end of a block of " + bytes + " bytes");
    }
    liveBlocks--;
    liveBytes -= size;
    waitingBytes += size;
    waiting.computeIfAbsent(size, unused -> new Blocks()).push(address);
  }

  /// Gives every waiting block back to the system.
  public synchronized void trim() {
    waiting.forEach((size, blocks) -> {
      while (blocks.count > 0) {
        HostMemory.free(blocks.pop(), size);
      }
    });
    waiting.clear();
    waitingBytes = 0;
  }

  /// The block size a request is rounded to.
  private long size(long bytes) {
    long needed = Math.max(bytes, 1) + (poison ? GUARD_BYTES : 0);
    long smallest = needed < HUGE_PAGE ? GRAIN : HUGE_PAGE;
    long grain = Math.max(smallest, Long.highestOneBit(needed) >> 4);
    return (needed + grain - 1) / grain * grain;
  }

  @Override
  public synchronized long liveBlocks() {
    return liveBlocks;
  }

  @Override
  public synchronized long liveBytes() {
    return liveBytes;
  }

  @Override
  public synchronized long peakBytes() {
    return peakBytes;
  }

  /// Bytes that wait in the pool for the next request of their size.
  public synchronized long waitingBytes() {
    return waitingBytes;
  }

  /// Most bytes this pool will hold.
  public long budgetBytes() {
    return budget;
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
  public void write(long address, byte[] source, int offset, int count) {
    HostMemory.write(address, source, offset, count);
  }

  @Override
  public void read(long address, byte[] target, int offset, int count) {
    HostMemory.read(address, target, offset, count);
  }

  private static String text(long bytes) {
    return bytes < 10_000 ? bytes + " bytes" : "%.1f MB".formatted(bytes / 1e6);
  }

  /// A stack of addresses of one size.
  private static final class Blocks {
    private long[] addresses = new long[8];
    private int count;

    void push(long address) {
      if (count == addresses.length) {
        addresses = Arrays.copyOf(addresses, 2 * count);
      }
      addresses[count++] = address;
    }

    long pop() {
      return addresses[--count];
    }
  }
}
