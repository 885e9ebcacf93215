package io.retort.backend;

import io.retort.bindings.cuda.CudaDriver;
import java.lang.foreign.MemorySegment;

/// Pinned host memory through which every copy between Java arrays and the device goes.
///
/// Uploads fill one of four parts after the other and return as soon as they are queued; a part is
/// written again only after the stream has passed an event that was recorded behind its last use.
/// Downloads wait for the stream, after which every part is free.
final class CudaStaging implements AutoCloseable {
  private static final int PARTS = 4;
  private static final long PART_BYTES = 4 << 20;
  private static final long GRAIN = 64;

  private final CudaContext context;
  private final CudaDriver driver;
  private final MemorySegment pinned;
  private final long[] passed = new long[PARTS];
  private int part;
  private long used;

  CudaStaging(CudaContext context) {
    this.context = context;
    driver = context.driver();
    pinned = driver.memHostAlloc(PARTS * PART_BYTES);
    for (int i = 0; i < PARTS; i++) {
      passed[i] = driver.eventCreate(false);
    }
  }

  /// Queues a copy; the source may change as soon as this returns.
  void upload(MemorySegment source, long device) {
    long bytes = source.byteSize();
    for (long done = 0; done < bytes; ) {
      if (used == PART_BYTES) {
        nextPart();
      }
      long count = Math.min(bytes - done, PART_BYTES - used);
      long at = part * PART_BYTES + used;
      MemorySegment.copy(source, done, pinned, at, count);
      driver.memcpyHtoDAsync(device + done, pinned.address() + at, count, context.stream());
      used += (count + GRAIN - 1) / GRAIN * GRAIN;
      done += count;
    }
  }

  private void nextPart() {
    driver.eventRecord(passed[part], context.stream());
    part = (part + 1) % PARTS;
    driver.eventSynchronize(passed[part]);
    used = 0;
  }

  /// Copies after everything queued before, and waits for it.
  void download(long device, MemorySegment target) {
    context.queue().flush();
    long bytes = target.byteSize();
    for (long done = 0; done < bytes; ) {
      long count = Math.min(bytes - done, pinned.byteSize());
      driver.memcpyDtoHAsync(pinned.address(), device + done, count, context.stream());
      context.await();
      used = 0;
      MemorySegment.copy(pinned, 0, target, done, count);
      done += count;
    }
  }

  @Override
  public void close() {
    for (long event : passed) {
      driver.eventDestroy(event);
    }
    driver.memFreeHost(pinned);
  }
}
