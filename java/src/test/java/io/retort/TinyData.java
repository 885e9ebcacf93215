package io.retort;

import io.retort.data.DataCard;
import io.retort.data.Dataset;
import io.retort.data.Images;
import java.util.List;
import java.util.Random;

/// Two hundred grey 8x8 images of three classes: bright bars at the top, in the middle, at the
/// bottom.
public final class TinyData implements Dataset {
  public static final TinyData SET = new TinyData();
  private static final int SIDE = 8;
  private static final int CLASSES = 3;

  @Override
  public DataCard card() {
    return new DataCard(
        "tiny", "none", "made up", "", SIDE, SIDE, 1, List.of("top", "middle", "bottom"), true);
  }

  @Override
  public Images train() {
    return images(200, 1);
  }

  @Override
  public Images test() {
    return images(100, 2);
  }

  private static Images images(int count, long seed) {
    Random random = new Random(seed);
    byte[] pixels = new byte[count * SIDE * SIDE];
    byte[] labels = new byte[count];
    for (int i = 0; i < count; i++) {
      labels[i] = (byte) (i % CLASSES);
      for (int y = 0; y < SIDE; y++) {
        boolean bright = y / 3 == labels[i];
        for (int x = 0; x < SIDE; x++) {
          int value = (bright ? 200 : 40) + random.nextInt(40);
          pixels[(i * SIDE + y) * SIDE + x] = (byte) value;
        }
      }
    }
    return new Images(count, SIDE, SIDE, 1, pixels, labels);
  }
}
