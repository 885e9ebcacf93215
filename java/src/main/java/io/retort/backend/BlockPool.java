package io.retort.backend;

import io.retort.tensor.TensorMemoryException;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/// Blocks of a device's memory under a byte budget, cached by size.
///
/// A training step asks for the same sizes again and again, so given-back blocks wait in one list a
/// size and are handed out whole. Sizes are rounded up by at most 1/16 or 64 bytes, large ones to
/// whole huge pages, which is what they occupy anyway. When the budget is reached, waiting blocks
/// go back to the system first; only then does an allocation fail.
///
/// Tests ask for more [Care].
final class BlockPool {
  private static final int POISON = 0xFF;
  private static final long GUARD_BYTES = 64;
  private static final long GRAIN = 64;
  private static final long HUGE_PAGE = 2 << 20;

  /// Sizes of one power of two: their first five bits tell them apart.
  private static final int SIZES_PER_OCTAVE = 16;

  private static final int SIZES = SIZES_PER_OCTAVE * Long.SIZE;

  private final String budgetVariable;
  private final long budget;
  private final Care care;
  private final Source source;
  private final @Nullable Blocks[] waiting = new @Nullable Blocks[SIZES];
  private long liveBlocks;
  private long liveBytes;
  private long peakBytes;
  private long waitingBytes;

  /// How blocks are watched.
  enum Care {
    /// They are not.
    PLAIN,

    /// Every block handed out is filled with NaN (0xFF bytes), up to a guard behind its end that is
    /// checked when it comes back: a kernel that reads what nobody wrote, or reads or writes past
    /// its end, is found. The system property `retort.poison=true` asks for it.
    POISONED,

    /// Every block is taken from the source at its exact size and goes straight back: for a source
    /// that fills and guards blocks itself.
    EXACT
  }

  /// Where blocks come from, and what poisoning does to them.
  interface Source {
    /// A block of undefined contents, or 0 if there is none that large.
    long allocate(long bytes);

    void free(long address, long bytes);

    /// Sets every byte to the low 8 bits of `value`.
    void fill(long address, int value, long bytes);

    /// Whether every byte equals the low 8 bits of `value`.
    boolean holds(long address, int value, long bytes);

    /// Why an allocation within the budget can fail, in a clause.
    String shortage();
  }

  /// A pool that holds at most `budget` bytes, blocks in use and waiting ones together.
  ///
  /// @param budgetVariable the environment variable that raises the budget
  BlockPool(String budgetVariable, long budget, Care care, Source source) {
    this.budgetVariable = budgetVariable;
    this.budget = budget;
    this.care = care;
    this.source = source;
  }

  /// What the user asked for, or `otherwise`.
  static Care care(Care otherwise) {
    return Boolean.getBoolean("retort.poison") ? Care.POISONED : otherwise;
  }

  /// The budget that an environment variable names, or `otherwise`.
  static long budget(String variable, @Nullable String wanted, long otherwise) {
    if (wanted == null) {
      return otherwise;
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
        variable + " must be a positive number of bytes, got " + wanted);
  }

  synchronized long allocate(long bytes) {
    if (bytes > budget) {
      throw exhausted(bytes, "that is more than the whole budget of " + text(budget));
    }
    long size = size(bytes);
    Blocks blocks = care == Care.EXACT ? null : waiting[index(size)];
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
    if (care == Care.POISONED) {
      source.fill(address, POISON, size);
    }
    return address;
  }

  /// The same, or 0 where that would be an error.
  synchronized long tryAllocate(long bytes) {
    try {
      return size(bytes) + liveBytes > budget ? 0 : allocate(bytes);
    } catch (TensorMemoryException e) {
      return 0; // the system has no more
    }
  }

  private long fresh(long bytes, long size) {
    if (liveBytes + waitingBytes + size > budget) {
      trim();
    }
    if (liveBytes + size > budget) {
      throw exhausted(bytes, "the whole budget is " + text(budget));
    }
    long address = source.allocate(size);
    if (address == 0) {
      trim();
      address = source.allocate(size);
    }
    if (address == 0) {
      throw exhausted(bytes, source.shortage());
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
                budgetVariable));
  }

  synchronized void free(long address, long bytes) {
    long size = size(bytes);
    if (care == Care.POISONED && !source.holds(address + bytes, POISON, size - bytes)) {
      throw new IllegalStateException(
          "memory: something was written past the end of a block of " + bytes + " bytes");
    }
    liveBlocks--;
    liveBytes -= size;
    if (care == Care.EXACT) {
      source.free(address, size);
    } else {
      waitingBytes += size;
      int index = index(size);
      Blocks blocks = waiting[index];
      if (blocks == null) {
        blocks = new Blocks(size);
        waiting[index] = blocks;
      }
      blocks.push(address);
    }
  }

  /// Gives every waiting block back to the system.
  synchronized void trim() {
    for (Blocks blocks : waiting) {
      while (blocks != null && blocks.count > 0) {
        source.free(blocks.pop(), blocks.size);
      }
    }
    waitingBytes = 0;
  }

  /// The block size a request is rounded to.
  private long size(long bytes) {
    long needed = Math.max(bytes, 1) + (care == Care.POISONED ? GUARD_BYTES : 0);
    if (care == Care.EXACT) {
      return needed;
    }
    return rounded(needed);
  }

  /// The size that a request shares with others of about its size.
  static long rounded(long bytes) {
    long needed = Math.max(bytes, 1);
    long smallest = needed < HUGE_PAGE ? GRAIN : HUGE_PAGE;
    long grain = Math.max(smallest, Long.highestOneBit(needed) >> 4);
    return (needed + grain - 1) / grain * grain;
  }

  /// Where blocks of a rounded size wait.
  private static int index(long size) {
    int exponent = Long.SIZE - 1 - Long.numberOfLeadingZeros(size);
    int leading = (int) (size >> (exponent - 4));
    return SIZES_PER_OCTAVE * (exponent - 1) + leading;
  }

  synchronized long liveBlocks() {
    return liveBlocks;
  }

  synchronized long liveBytes() {
    return liveBytes;
  }

  synchronized long peakBytes() {
    return peakBytes;
  }

  synchronized long waitingBytes() {
    return waitingBytes;
  }

  long budgetBytes() {
    return budget;
  }

  static String text(long bytes) {
    return bytes < 10_000 ? bytes + " bytes" : "%.1f MB".formatted(bytes / 1e6);
  }

  /// A stack of addresses of one size.
  private static final class Blocks {
    private final long size;
    private long[] addresses = new long[8];
    private int count;

    Blocks(long size) {
      this.size = size;
    }

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
