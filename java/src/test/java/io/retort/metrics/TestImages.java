package io.retort.metrics;

import io.retort.data.Images;
import java.util.Random;

/// Small seeded image sets for the tests of this package.
final class TestImages {
  private TestImages() {}

  static Images of(int height, int width, int channels, int... levels) {
    var pixels = new byte[levels.length];
    for (int i = 0; i < levels.length; i++) {
      pixels[i] = (byte) levels[i];
    }
    int count = levels.length / (height * width * channels);
    return new Images(count, height, width, channels, pixels, new byte[count]);
  }

  /// Levels `low .. high - 1`, uniform; label of image i is `i % 10`.
  static Images uniform(
      int count, int height, int width, int channels, int low, int high, long seed) {
    var random = new Random(seed);
    var pixels = new byte[count * height * width * channels];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) random.nextInt(low, high);
    }
    var labels = new byte[count];
    for (int i = 0; i < count; i++) {
      labels[i] = (byte) (i % 10);
    }
    return new Images(count, height, width, channels, pixels, labels);
  }

  /// Every pixel `shift` levels brighter.
  static Images brighter(Images images, int shift) {
    byte[] pixels = images.pixels().clone();
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) Math.clamp((pixels[i] & 0xff) + shift, 0, 255);
    }
    return new Images(
        images.count(),
        images.height(),
        images.width(),
        images.channels(),
        pixels,
        images.labels());
  }
}
