package io.retort.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class BatchLoaderTest {
  private static final Images IMAGES = BatchSamplerTest.images(60);

  @Test
  void prefetchedBatchesAreThoseOfTheSampler() {
    var direct = sampler();
    try (var loader = new BatchLoader(sampler()::batch, 0)) {
      for (int step = 0; step < 40; step++) {
        assertThat(loader.step()).isEqualTo(step);
        assertThat(loader.next().images()).isEqualTo(direct.batch(step).images());
      }
    }
  }

  @Test
  void resumingEqualsNeverHavingStopped() {
    try (var whole = new BatchLoader(sampler()::batch, 0);
        var resumed = new BatchLoader(sampler()::batch, 17)) {
      for (int step = 0; step < 17; step++) {
        whole.next();
      }
      for (int step = 17; step < 30; step++) {
        var expected = whole.next();
        var actual = resumed.next();
        assertThat(actual.indices()).isEqualTo(expected.indices());
        assertThat(actual.images()).isEqualTo(expected.images());
      }
    }
  }

  @Test
  void neverRunsFurtherAheadThanItsDepth() throws InterruptedException {
    var made = new AtomicLong();
    var sampler = sampler();
    try (var loader =
        new BatchLoader(
            step -> {
              made.incrementAndGet();
              return sampler.batch(step);
            },
            0,
            2)) {
      loader.next();
      Thread.sleep(Duration.ofMillis(100));
      assertThat(made.get()).isBetween(2L, 4L);
    }
  }

  @Test
  void aFailureSurfacesInItsPlaceAndStays() {
    var sampler = sampler();
    try (var loader =
        new BatchLoader(
            step -> {
              if (step == 2) {
                throw new IllegalStateException("disk on fire");
              }
              return sampler.batch(step);
            },
            0)) {
      loader.next();
      loader.next();
      for (int attempt = 0; attempt < 2; attempt++) {
        assertThatThrownBy(loader::next)
            .isInstanceOf(DataException.class)
            .hasMessageStartingWith("batch of step 2: cannot be made: ")
            .hasMessageContaining("disk on fire");
      }
    }
  }

  @Test
  void aDataExceptionPassesUnchanged() {
    var failure = new DataException("file", "is gone");
    try (var loader =
        new BatchLoader(
            _ -> {
              throw failure;
            },
            0)) {
      assertThatThrownBy(loader::next).isSameAs(failure);
    }
  }

  @Test
  void closeEndsTheThreadAndIsHarmlessTwice() {
    var loader = new BatchLoader(sampler()::batch, 0);
    loader.next();
    loader.close();
    loader.close();

    assertThat(Thread.getAllStackTraces().keySet())
        .noneMatch(thread -> thread.getName().equals("retort-data") && thread.isAlive());
    assertThatThrownBy(loader::next)
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("is closed");
  }

  @Test
  void closeReleasesAWaitingReader() throws InterruptedException {
    var started = new CountDownLatch(1);
    var loader =
        new BatchLoader(
            _ -> {
              started.countDown();
              return await();
            },
            0);
    var reader = Thread.ofPlatform().unstarted(loader::next);
    reader.setUncaughtExceptionHandler((_, _) -> {});
    reader.start();
    started.await();
    loader.close();
    assertThat(reader.join(Duration.ofSeconds(10))).isTrue();
  }

  /// Never returns a batch; ends when its thread is interrupted.
  private static Batch await() {
    try {
      new CountDownLatch(1).await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    throw new IllegalStateException("interrupted");
  }

  private static BatchSampler sampler() {
    return new BatchSampler(IMAGES, 8, 77, 0, true);
  }
}
