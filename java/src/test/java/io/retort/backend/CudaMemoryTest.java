package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.bindings.cuda.CudaEmulator;
import io.retort.bindings.cuda.CudaLibrary;
import io.retort.bindings.cuda.PanamaDriver;
import io.retort.tensor.TensorMemoryException;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/// Device memory on the emulator, which has 2 GiB if not told otherwise, holds work back until
/// somebody waits, and counts.
final class CudaMemoryTest {
  private static final long MB = 1 << 20;

  private final PanamaDriver driver = PanamaDriver.open(CudaLibrary.open(CudaLibrary.EMULATOR));
  private final CudaContext context = CudaContext.open(driver, CudaDevice.list(driver).getFirst());
  private final CudaEmulator emulator = context.emulator().orElseThrow();
  private final long before = allocations();
  private CudaMemory memory = new CudaMemory(context, 3L << 30, BlockPool.Care.PLAIN);

  @AfterEach
  void nothingLeaks() {
    assertThat(memory.liveBlocks()).isZero();
    assertThat(memory.liveBytes()).isZero();
    memory.close();
    assertThat(memory.waitingBytes()).isZero();
    assertThat(allocations()).isEqualTo(before);
    emulator.set("memory", "2G");
    context.close();
  }

  /// Of the whole process, when what other tests have queued, frees among it, has run.
  private long allocations() {
    driver.ctxSynchronize();
    return emulator.count(CudaEmulator.Count.ALLOCATIONS);
  }

  @Test
  void aGivenBackBlockServesTheNextRequestOfItsSize() {
    long first = memory.allocate(1000);
    memory.free(first, 1000);
    long second = memory.allocate(1001);

    assertThat(second).isEqualTo(first);
    memory.free(second, 1001);
    assertThat(memory.peakBytes()).isEqualTo(1024);
    assertThat(memory.waitingBytes()).isEqualTo(1024);
  }

  @Test
  void copiesGoThereAndBack() {
    long block = memory.allocate(64);
    memory.zero(block, 64);
    memory.write(block, new float[] {9, 1.5f, -2}, 1, 2);
    memory.write(block + 12, new float[] {4}, 0, 1);
    float[] floats = new float[5];
    memory.read(block, floats, 1, 4);
    memory.write(block + 8, new long[] {1L << 60}, 0, 1);
    long[] longs = new long[1];
    memory.copy(block + 8, block + 32, 8);
    memory.read(block + 32, longs, 0, 1);
    byte[] bytes = {0};
    memory.write(block, new byte[] {7}, 0, 1);
    memory.read(block, bytes, 0, 1);

    assertThat(floats).containsExactly(0, 1.5f, -2, 0, 4);
    assertThat(longs).containsExactly(1L << 60);
    assertThat(bytes).containsExactly(7);
    memory.free(block, 64);
  }

  @Test
  void aSourceMayChangeAsSoonAsItIsWritten() {
    float[] values = new float[300];
    long block = memory.allocate(1200 * 1000);
    for (int i = 0; i < 1000; i++) {
      Arrays.fill(values, i);
      memory.write(block + 1200L * i, values, 0, 300);
    }
    float[] found = new float[300 * 1000];
    memory.read(block, found, 0, found.length);

    for (int i = 0; i < found.length; i++) {
      assertThat(found[i]).isEqualTo(i / 300);
    }
    memory.free(block, 1200 * 1000);
  }

  @Test
  void whatIsLargerThanTheStagingMemoryIsCopiedInParts() {
    byte[] values = new byte[(int) (37 * MB + 5)];
    new Random(1).nextBytes(values);
    long block = memory.allocate(values.length);
    memory.write(block, values, 0, values.length);
    byte[] found = new byte[values.length];
    memory.read(block, found, 0, found.length);

    assertThat(found).isEqualTo(values);
    memory.free(block, values.length);
  }

  @Test
  void aFullDeviceSaysWhatWasAskedUsedAndFree() {
    emulator.set("memory", "256M");
    long block = memory.allocate(150 * MB);

    assertThatThrownBy(() -> memory.allocate(120 * MB))
        .isInstanceOf(TensorMemoryException.class)
        .hasMessageMatching(
            "memory: asked for 125\\.8 MB with 159\\.4 MB in use and 3061\\.8 MB of the budget"
                + " free, but Retort emulator sm_90 has only [0-9.]+ MB of 268\\.4 MB free; lower"
                + " the batch size or the network's channels, or raise RETORT_CUDA_MEMORY_BYTES");
    memory.free(block, 150 * MB);
  }

  @Test
  void waitingBlocksMakeRoomBeforeAnythingFails() {
    emulator.set("memory", "256M");
    long block = memory.allocate(150 * MB);
    memory.free(block, 150 * MB);
    long other = memory.allocate(120 * MB);

    assertThat(memory.waitingBytes()).isZero();
    memory.free(other, 120 * MB);
  }

  @Test
  void aBudgetIsKept() {
    memory.close();
    memory = new CudaMemory(context, 64 * MB, BlockPool.Care.PLAIN);
    long block = memory.allocate(40 * MB);

    assertThatThrownBy(() -> memory.allocate(30 * MB))
        .isInstanceOf(TensorMemoryException.class)
        .hasMessageContaining("the whole budget is 67.1 MB");
    memory.free(block, 40 * MB);
  }

  @Test
  void poisonShowsWhatNobodyWroteAndWritesPastTheEnd() {
    memory.close();
    memory = new CudaMemory(context, 64 * MB, BlockPool.Care.POISONED);
    long block = memory.allocate(12);
    float[] fresh = new float[4];
    memory.read(block, fresh, 0, 4);
    assertThat(fresh).containsOnly(Float.NaN);
    memory.write(block + 12, new byte[] {0}, 0, 1);

    assertThatThrownBy(() -> memory.free(block, 12))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("memory: something was written past the end of a block of 12 bytes");
    memory.write(block + 12, new byte[] {-1}, 0, 1);
    memory.free(block, 12);
  }

  @Test
  void scratchIsBackWhenItIsClosed() {
    long address;
    try (var scratch = memory.scratch(100)) {
      address = scratch.address();
      assertThat(memory.liveBlocks()).isOne();
    }
    try (var again = memory.scratch(100)) {
      assertThat(again.address()).isEqualTo(address);
    }
  }

  @Test
  void anotherThreadMayTakeOver() throws InterruptedException {
    float[] found = new float[2];
    long block = memory.allocate(8);
    Thread other =
        new Thread(() -> {
          memory.write(block, new float[] {1, 2}, 0, 2);
          memory.read(block, found, 0, 2);
        });
    other.start();
    other.join();

    assertThat(found).containsExactly(1, 2);
    memory.free(block, 8);
  }
}
