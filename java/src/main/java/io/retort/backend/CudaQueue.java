package io.retort.backend;

import io.retort.bindings.cuda.CudaDriver;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/// Everything that goes to the context's stream, in order: at once, or collected and then started
/// together.
///
/// While work is collected, kernels, fills and copies become entries of a [CudaWork], and what the
/// host has to say (images, noise levels, rates, the step of random streams) goes into one block of
/// device memory from which the entries take it. So the entries of the next step are the same
/// words, and a graph of them stays valid. Reading from the device starts what is collected.
final class CudaQueue implements AutoCloseable {
  private static final long FIRST_BYTES = 1 << 20;
  private static final long GRAIN = 64;
  private static final int MOST_DERIVED = 64;

  private final CudaContext context;
  private final CudaDriver driver;
  private final CudaStaging staging;
  private final CudaWork work;
  private final CudaGraphs graphs;

  /// Whose work is collected, null if everything goes at once.
  private @Nullable String unit;

  private boolean enabled;
  private long flushes;

  /// Derived work by its hash, the least recently used first.
  private final Map<Long, Derived> derived = new LinkedHashMap<>(16, 0.75f, true);

  /// What the host says, here and on the device.
  private MemorySegment said = MemorySegment.NULL;

  private long saidAt;
  private long saidBytes;

  /// The last step that was said, and where it lies on the device; 0 for nowhere.
  private long step;

  private long stepAt;

  CudaQueue(CudaContext context, CudaStaging staging) {
    this.context = context;
    driver = context.driver();
    this.staging = staging;
    work = new CudaWork(context.kernels(), context.products());
    graphs = new CudaGraphs(context);
  }

  CudaGraphs graphs() {
    return graphs;
  }

  /// Whether [#collect] does more than to run its work; graphs of before are given up if not.
  void enable(boolean on) {
    enabled = on;
    if (!on) {
      graphs.close();
      derived.clear();
    }
  }

  /// Whether what is queued now is collected.
  boolean collecting() {
    return unit != null;
  }

  /// Runs work, collecting what it queues, and starts that at its end; inside of other collected
  /// work, only runs it. What a failure leaves collected is dropped.
  <T> T collect(String name, Supplier<T> body) {
    if (!enabled || unit != null) {
      return body.get();
    }
    unit = name;
    graphs.began(name);
    try {
      T result = body.get();
      flush();
      return result;
    } finally {
      unit = null;
      forget();
    }
  }

  /// What was collected while derived work ran, and all that it depends on.
  private record Derived(
      long[] before,
      long arena,
      long saidAt,
      long saidBytes,
      Object signature,
      long[] words,
      int entries) {}

  /// Runs work of [io.retort.op.Backend#derived], or collects again what it collected before.
  void derived(Supplier<?> signature, Runnable body) {
    if (unit == null) {
      body.run();
      return;
    }
    Object wanted = signature.get();
    long arena = context.memory().arenaState();
    long hash = work.hash() ^ arena ^ wanted.hashCode();
    Derived known = derived.get(hash);
    if (known != null
        && known.arena == arena
        && known.saidAt == saidAt
        && known.saidBytes == saidBytes
        && work.equalTo(known.before)
        && known.signature.equals(wanted)) {
      work.append(known.words, known.entries);
      return;
    }
    long[] before = work.toArray();
    int entries = work.entries();
    long at = saidAt;
    long bytes = saidBytes;
    long flushed = flushes;
    body.run();
    if (flushes == flushed && saidAt == at && saidBytes == bytes) {
      long[] words = work.since(before.length);
      derived.put(
          hash, new Derived(before, arena, at, bytes, wanted, words, work.entries() - entries));
      if (derived.size() > MOST_DERIVED) {
        derived.remove(derived.keySet().iterator().next());
      }
    }
  }

  /// Starts what is collected; whoever reads or waits does this first.
  void flush() {
    String name = unit;
    if (name == null || work.entries() == 0) {
      return;
    }
    flushes++;
    context.enter();
    if (saidBytes > 0) {
      staging.upload(said.asSlice(0, saidBytes), saidAt);
    }
    graphs.start(name, work);
    forget();
  }

  private void forget() {
    work.clear();
    saidBytes = 0;
    stepAt = 0;
  }

  void kernel(CudaKernel kernel, long gridX, long gridY, long gridZ, int threads, int shared) {
    if (unit != null) {
      work.kernel(kernel, gridX, gridY, gridZ, threads, shared);
    } else {
      kernel.start(gridX, gridY, gridZ, threads, shared, context.stream());
      context.launched(kernel.name());
    }
  }

  /// A product by NVIDIA's library.
  ///
  /// @param plan index into [CudaContext#products]
  /// @param name of the library
  void product(int plan, String name, long a, long b, long bias, long c) {
    if (unit != null) {
      work.product(plan, a, b, bias, c);
    } else {
      context.products().get(plan).multiply(a, b, bias, c);
      context.launched(name);
    }
  }

  /// Runs work at once, behind what is collected; for what has to be timed.
  void atOnce(Runnable body) {
    String name = unit;
    flush();
    unit = null;
    try {
      body.run();
    } finally {
      unit = name;
    }
  }

  void fillBytes(long address, byte value, long count) {
    if (unit != null) {
      work.fillBytes(address, value, count);
    } else {
      driver.memsetD8Async(address, value, count, context.stream());
    }
  }

  void copy(long to, long from, long bytes) {
    if (unit != null) {
      work.copy(to, from, bytes);
    } else {
      driver.memcpyDtoDAsync(to, from, bytes, context.stream());
    }
  }

  /// Copies from the host; the source may change as soon as this returns.
  void upload(MemorySegment source, long device) {
    if (unit != null) {
      work.copy(device, say(source), source.byteSize());
    } else {
      staging.upload(source, device);
    }
  }

  /// Sets one 32-bit word.
  void write(long address, int bits) {
    if (unit != null) {
      var word = MemorySegment.ofArray(new int[] {bits});
      work.copy(address, say(word), Integer.BYTES);
    } else {
      driver.memsetD32Async(address, bits, 1, context.stream());
    }
  }

  /// Where the step of a random stream lies on the device; 0 if a kernel is to take it by value.
  long stepAddress(long value) {
    if (unit == null) {
      return 0;
    }
    if (stepAt == 0 || step != value) {
      long at = say(MemorySegment.ofArray(new long[] {value}));
      step = value;
      stepAt = at;
    }
    return stepAt;
  }

  /// Puts bytes into the block and gives their address on the device.
  private long say(MemorySegment source) {
    long bytes = source.byteSize();
    if (saidBytes + bytes > said.byteSize()) {
      grow(bytes);
    }
    long at = saidBytes;
    MemorySegment.copy(source, 0, said, at, bytes);
    saidBytes = (at + bytes + GRAIN - 1) / GRAIN * GRAIN;
    return saidAt + at;
  }

  /// A larger block; what refers to the old one is started first.
  private void grow(long bytes) {
    flush();
    forget();
    long size = Math.max(Math.max(FIRST_BYTES, 2 * said.byteSize()), Long.highestOneBit(bytes) * 2);
    context.enter();
    if (saidAt != 0) {
      driver.memFreeAsync(saidAt, context.stream());
    }
    saidAt = driver.memAllocAsync(size, context.stream());
    said = Arena.ofAuto().allocate(size, ValueLayout.JAVA_LONG.byteSize());
  }

  @Override
  public void close() {
    graphs.close();
    if (saidAt != 0) {
      driver.memFreeAsync(saidAt, context.stream());
    }
  }
}
