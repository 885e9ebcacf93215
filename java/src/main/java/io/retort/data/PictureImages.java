package io.retort.data;

import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/// Images that stay encoded until they are asked for; what was decoded is kept where all of them
/// together take less than a quarter of the heap.
///
/// @param names pictures of the store, one an image
/// @param labels class of each
record PictureImages(
    PictureStore store,
    List<String> names,
    int[] labels,
    int height,
    int width,
    int channels,
    @Nullable AtomicReferenceArray<byte[]> decoded)
    implements ImageSource {
  private static final int MOST_LABELS = 256;

  static PictureImages of(
      PictureStore store, List<String> names, int[] labels, PictureHeader form) {
    long size = (long) form.height() * form.width() * form.channels();
    boolean keep = size * names.size() <= Runtime.getRuntime().maxMemory() / 4;
    return new PictureImages(
        store,
        names,
        labels,
        form.height(),
        form.width(),
        form.channels(),
        keep ? new AtomicReferenceArray<>(names.size()) : null);
  }

  @Override
  public int count() {
    return names.size();
  }

  @Override
  public int label(int index) {
    return labels[index];
  }

  @Override
  public void copyUnit(int index, boolean flip, float[] out, int offset) {
    Images.copyUnit(pixels(index), 0, this, flip, out, offset);
  }

  private byte[] pixels(int index) {
    byte[] known = decoded == null ? null : decoded.get(index);
    if (known != null) {
      return known;
    }
    String name = names.get(index);
    byte[] pixels = Picture.decode(store.where(name), store.read(name), height, width, channels);
    if (decoded != null) {
      decoded.set(index, pixels);
    }
    return pixels;
  }

  /// All images in memory, decoded on every core.
  ///
  /// @throws DataException if they do not fit one array, or have more classes than it can tell
  Images images() {
    long bytes = (long) imageSize() * count();
    if (bytes > Integer.MAX_VALUE - 8) {
      throw new DataException(
          store.where(""), "has %d bytes of pixels, more than can be measured".formatted(bytes));
    }
    var classes = new byte[count()];
    for (int i = 0; i < classes.length; i++) {
      if (labels[i] >= MOST_LABELS) {
        throw new DataException(
            store.where(""), "has more than %d classes to measure".formatted(MOST_LABELS));
      }
      classes[i] = (byte) labels[i];
    }
    var pixels = new byte[(int) bytes];
    IntStream.range(0, count())
        .parallel()
        .forEach(i -> System.arraycopy(pixels(i), 0, pixels, i * imageSize(), imageSize()));
    return new Images(count(), height, width, channels, pixels, classes);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return this == other;
  }

  @Override
  public int hashCode() {
    return Objects.hash(store, names.size());
  }
}
