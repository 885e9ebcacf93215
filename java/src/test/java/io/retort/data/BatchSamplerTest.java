package io.retort.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class BatchSamplerTest {
  @Property(tries = 60)
  void everyEpochShowsEachImageOnce(
      @ForAll @IntRange(min = 1, max = 40) int count,
      @ForAll @IntRange(min = 1, max = 50) int batchSize,
      @ForAll long seed) {
    var sampler = new BatchSampler(images(count), batchSize, seed, 0, false);
    var seen = new int[count];
    int epochs = 3;
    int steps = Math.ceilDiv(epochs * count, batchSize);
    int sample = 0;
    for (int step = 0; step < steps; step++) {
      for (long index : sampler.batch(step).indices()) {
        if (sample++ < epochs * count) {
          seen[(int) index]++;
        }
        if (sample % count == 0 && sample <= epochs * count) {
          assertThat(seen).containsOnly(sample / count);
        }
      }
    }
  }

  @Test
  void aStepDoesNotDependOnTheStepsBeforeIt() {
    var images = images(100);
    var walked = new BatchSampler(images, 7, 42, 1, true);
    for (int step = 0; step < 50; step++) {
      var batch = walked.batch(step);
      var jumped = new BatchSampler(images, 7, 42, 1, true).batch(step);
      assertSame(batch, jumped);
    }
    assertSame(walked.batch(3), new BatchSampler(images, 7, 42, 1, true).batch(3));
  }

  @Test
  void theStreamOfSamplesDoesNotDependOnTheBatchSize() {
    var images = images(30);
    var one = new BatchSampler(images, 1, 9, 0, true);
    var batch = new BatchSampler(images, 12, 9, 0, true).batch(4);
    int size = images.imageSize();
    for (int i = 0; i < 12; i++) {
      var single = one.batch(48 + i);
      assertThat(single.indices()[0]).isEqualTo(batch.indices()[i]);
      assertThat(single.images())
          .isEqualTo(Arrays.copyOfRange(batch.images(), i * size, (i + 1) * size));
    }
  }

  @Test
  void seedsAndStreamsAndEpochsDiffer() {
    var images = images(200);
    var reference = new BatchSampler(images, 200, 1, 0, false).batch(0).indices();
    assertThat(new BatchSampler(images, 200, 2, 0, false).batch(0).indices())
        .isNotEqualTo(reference);
    assertThat(new BatchSampler(images, 200, 1, 1, false).batch(0).indices())
        .isNotEqualTo(reference);
    assertThat(new BatchSampler(images, 200, 1, 0, false).batch(1).indices())
        .isNotEqualTo(reference);
  }

  @Test
  void everyPlaceIsEquallyLikely() {
    int count = 8;
    int epochs = 16_000;
    var sampler = new BatchSampler(images(count), count, 5, 0, false);
    var hits = new int[count * count];
    for (int epoch = 0; epoch < epochs; epoch++) {
      long[] order = sampler.batch(epoch).indices();
      for (int place = 0; place < count; place++) {
        hits[place * count + (int) order[place]]++;
      }
    }
    // Binomial(16000, 1/8): mean 2000, deviation 42; 64 cells stay within 5 deviations.
    assertThat(Arrays.stream(hits)).allMatch(hit -> Math.abs(hit - 2000) < 210);
  }

  @Test
  void labelsAndPixelsBelongToTheIndex() {
    var images = images(50);
    var batch = new BatchSampler(images, 20, 3, 0, false).batch(2);
    int size = images.imageSize();
    var expected = new float[size];
    for (int i = 0; i < batch.count(); i++) {
      int index = (int) batch.indices()[i];
      images.copyUnit(index, false, expected, 0);
      assertThat(batch.labels()[i]).isEqualTo(images.label(index));
      assertThat(Arrays.copyOfRange(batch.images(), i * size, (i + 1) * size)).isEqualTo(expected);
    }
  }

  @Test
  void halfOfTheImagesAreMirroredIfAllowedAndNoneOtherwise() {
    var images = images(40);
    assertThat(mirrored(images, true)).isBetween(880, 1120);
    assertThat(mirrored(images, false)).isZero();
  }

  @Test
  void refusesNonsense() {
    assertThatThrownBy(() -> new BatchSampler(images(3), 0, 1, 0, false))
        .hasMessageContaining("batch size must be at least 1, got 0");
    assertThatThrownBy(() -> new BatchSampler(images(0), 1, 1, 0, false))
        .hasMessageContaining("at least one image");
    assertThatThrownBy(() -> new BatchSampler(images(3), 1, 1, 0, false).batch(-1))
        .hasMessageContaining("must not be negative");
  }

  /// Of 2000 samples, those that equal the mirror image of their source.
  private static int mirrored(Images images, boolean flip) {
    var batch = new BatchSampler(images, 2000, 11, 0, flip).batch(0);
    int size = images.imageSize();
    var mirror = new float[size];
    int found = 0;
    for (int i = 0; i < batch.count(); i++) {
      images.copyUnit((int) batch.indices()[i], true, mirror, 0);
      boolean same = Arrays.equals(batch.images(), i * size, (i + 1) * size, mirror, 0, size);
      found += same ? 1 : 0;
    }
    return found;
  }

  private static void assertSame(Batch actual, Batch expected) {
    assertThat(actual.indices()).isEqualTo(expected.indices());
    assertThat(actual.labels()).isEqualTo(expected.labels());
    assertThat(actual.images()).isEqualTo(expected.images());
  }

  /// Images 2x3 of which none equals its mirror image.
  static Images images(int count) {
    var pixels = new byte[count * 6];
    var labels = new byte[count];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) (i * 7 + i % 3);
    }
    for (int i = 0; i < count; i++) {
      labels[i] = (byte) (i % 10);
    }
    return new Images(count, 2, 3, 1, pixels, labels);
  }
}
