package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.tensor.TensorMemoryException;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

final class CpuMemoryTest {
  private static final long MB = 1 << 20;

  private CpuMemory memory = new CpuMemory(64 * MB, 8 * MB, BlockPool.Care.PLAIN);

  @AfterEach
  void nothingLeaks() {
    assertThat(memory.liveBlocks()).isZero();
    assertThat(memory.liveBytes()).isZero();
    memory.trim();
    assertThat(memory.waitingBytes()).isZero();
  }

  @Test
  void aGivenBackBlockServesTheNextRequestOfItsSize() {
    long first = memory.allocate(1000);
    memory.free(first, 1000);
    long second = memory.allocate(1001);
    long third = memory.allocate(1000);

    assertThat(second).isEqualTo(first);
    assertThat(third).isNotEqualTo(first);
    assertThat(memory.liveBlocks()).isEqualTo(2);
    memory.free(second, 1001);
    memory.free(third, 1000);
    assertThat(memory.peakBytes()).isEqualTo(2048);
  }

  @Test
  void blocksOfEverySizeWaitApart() {
    memory = new CpuMemory(512 * MB, 8 * MB, BlockPool.Care.PLAIN);
    Map<Long, Long> blocks = new LinkedHashMap<>();
    for (long bytes = 1; bytes < 16 * MB; bytes += Math.max(1, bytes / 64)) {
      blocks.computeIfAbsent(BlockPool.rounded(bytes), memory::allocate);
    }
    blocks.forEach((bytes, block) -> memory.free(block, bytes));
    blocks.forEach((bytes, block) -> assertThat(memory.allocate(bytes)).isEqualTo(block));
    blocks.forEach((bytes, block) -> memory.free(block, bytes));
    assertThat(blocks).hasSizeGreaterThan(150);
  }

  @Test
  void blocksStartOnCacheLinesAndLargeOnesOnHugePages() {
    long small = memory.allocate(100);
    long large = memory.allocate(5 * MB);

    assertThat(small % 64).isZero();
    assertThat(large % (2 * MB)).isZero();
    memory.free(small, 100);
    memory.free(large, 5 * MB);
  }

  @Test
  void aFullBudgetSaysWhatWasAskedUsedAndFree() {
    long block = memory.allocate(40 * MB);

    assertThatThrownBy(() -> memory.allocate(30 * MB))
        .isInstanceOf(TensorMemoryException.class)
        .hasMessage(
            "memory: asked for 31.5 MB with 41.9 MB in use and 25.2 MB of the budget free, but the"
                + " whole budget is 67.1 MB; lower the batch size or the network's channels, or"
                + " raise RETORT_MEMORY_BYTES");
    assertThatThrownBy(() -> memory.allocate(Long.MAX_VALUE))
        .isInstanceOf(TensorMemoryException.class)
        .hasMessageContaining("more than the whole budget of 67.1 MB");
    memory.free(block, 40 * MB);
  }

  @Test
  void waitingBlocksMakeRoomBeforeAnythingFails() {
    long block = memory.allocate(40 * MB);
    memory.free(block, 40 * MB);
    long other = memory.allocate(30 * MB);

    assertThat(memory.waitingBytes()).isZero();
    memory.free(other, 30 * MB);
  }

  @Test
  void copiesGoThereAndBack() {
    long block = memory.allocate(64);
    memory.zero(block, 64);
    memory.write(block, new float[] {9, 1.5f, -2}, 1, 2);
    float[] floats = new float[4];
    memory.read(block, floats, 1, 3);
    memory.write(block + 8, new long[] {1L << 60}, 0, 1);
    long[] longs = new long[1];
    memory.copy(block + 8, block + 32, 8);
    memory.read(block + 32, longs, 0, 1);
    byte[] bytes = {0};
    memory.write(block, new byte[] {7}, 0, 1);
    memory.read(block, bytes, 0, 1);

    assertThat(floats).containsExactly(0, 1.5f, -2, 0);
    assertThat(longs).containsExactly(1L << 60);
    assertThat(bytes).containsExactly(7);
    memory.free(block, 64);
  }

  @Test
  void poisonShowsWhatNobodyWrote() {
    memory = new CpuMemory(64 * MB, 8 * MB, BlockPool.Care.POISONED);
    long block = memory.allocate(12);
    float[] fresh = new float[3];
    memory.read(block, fresh, 0, 3);

    assertThat(fresh).containsOnly(Float.NaN);
    memory.free(block, 12);
  }

  @Test
  void poisonFindsWritesPastTheEnd() {
    memory = new CpuMemory(64 * MB, 8 * MB, BlockPool.Care.POISONED);
    long block = memory.allocate(12);
    byte[] guard = new byte[1];
    memory.read(block + 12, guard, 0, 1);
    memory.write(block + 12, new byte[] {0}, 0, 1);

    assertThatThrownBy(() -> memory.free(block, 12))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("memory: something was written past the end of a block of 12 bytes");
    memory.write(block + 12, guard, 0, 1);
    memory.free(block, 12);
  }

  @Test
  void theBudgetIsThreeQuartersOrWhatTheEnvironmentSays() {
    assertThat(CpuMemory.budget(null, 1000)).isEqualTo(750);
    assertThat(CpuMemory.budget("123", 1000)).isEqualTo(123);
    for (String wrong : new String[] {"", "0", "-5", "1e9", "4G"}) {
      assertThatThrownBy(() -> CpuMemory.budget(wrong, 1000))
          .hasMessage("RETORT_MEMORY_BYTES must be a positive number of bytes, got " + wrong);
    }
  }

  @Test
  void whatIsSparedEndsWhereItsBudgetDoes() {
    long block = memory.spare(5 * MB);
    assertThat(block).isNotZero();
    assertThat(memory.spare(4 * MB)).isZero();
    assertThat(memory.packedBytes()).isBetween(5L * MB, 6L * MB);
    assertThat(memory.liveBytes()).isZero();
    memory.freeSpare(block, 5 * MB);
    assertThat(memory.packedBytes()).isZero();
    block = memory.spare(4 * MB); // the waiting block made room
    assertThat(block).isNotZero();
    memory.freeSpare(block, 4 * MB);
  }

  @Test
  void anEighthOfTheBudgetIsSparedOrWhatTheEnvironmentSays() {
    assertThat(CpuMemory.spared(null, 800)).isEqualTo(100);
    assertThat(CpuMemory.spared("123", 800)).isEqualTo(123);
    assertThat(CpuMemory.spared("0", 800)).isZero();
    assertThatThrownBy(() -> CpuMemory.spared("-1", 800))
        .hasMessage("RETORT_PACKED_BYTES must be a positive number of bytes, got -1");
    assertThat(new CpuMemory(64 * MB, 0, BlockPool.Care.PLAIN).spare(1)).isZero();
  }
}
