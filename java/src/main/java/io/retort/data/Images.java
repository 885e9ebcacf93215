package io.retort.data;

import java.util.Arrays;
import java.util.Objects;

/// Labelled 8-bit images, all of one size, in one array: pixels `(count, height, width, channels)`.
///
/// The arrays are handed over, not copied (a full set is tens of megabytes): who builds an `Images`
/// must not write to them afterwards, and neither may a reader. Labels are unsigned bytes.
public record Images(int count, int height, int width, int channels, byte[] pixels, byte[] labels)
    implements ImageSource {
  private static final float[] UNIT = unitTable();

  public Images {
    if (count < 0 || height < 1 || width < 1 || channels < 1) {
      throw new IllegalArgumentException(
          "images: sizes must be positive, got (%d, %d, %d, %d)"
              .formatted(count, height, width, channels));
    }
    long expected = Math.multiplyExact((long) count * height, (long) width * channels);
    if (pixels.length != expected || labels.length != count) {
      throw new IllegalArgumentException(
          "images: arrays must hold %d pixel bytes and %d labels, got %d and %d"
              .formatted(expected, count, pixels.length, labels.length));
    }
  }

  /// Values per image: `height * width * channels`.
  @Override
  public int imageSize() {
    return height * width * channels;
  }

  /// The class of image `index`, `0..255`.
  @Override
  public int label(int index) {
    return Byte.toUnsignedInt(labels[index]);
  }

  /// Writes image `index` as `x / 127.5 - 1` to `out[offset ..]`, mirrored left to right if `flip`.
  @Override
  public void copyUnit(int index, boolean flip, float[] out, int offset) {
    Objects.checkIndex(index, count);
    copyUnit(pixels, index * imageSize(), this, flip, out, offset);
  }

  /// The same for the image that begins at `pixels[from]` and has the size of those of `like`.
  static void copyUnit(
      byte[] pixels, int from, ImageSource like, boolean flip, float[] out, int offset) {
    int channels = like.channels();
    int row = like.width() * channels;
    for (int y = 0; y < like.height(); y++, from += row, offset += row) {
      if (flip) {
        copyRowMirrored(pixels, from, row, channels, out, offset);
      } else {
        for (int i = 0; i < row; i++) {
          out[offset + i] = UNIT[Byte.toUnsignedInt(pixels[from + i])];
        }
      }
    }
  }

  private static void copyRowMirrored(
      byte[] pixels, int from, int row, int channels, float[] out, int offset) {
    for (int i = 0; i < row; i += channels) {
      int source = from + row - channels - i;
      for (int c = 0; c < channels; c++) {
        out[offset + i + c] = UNIT[Byte.toUnsignedInt(pixels[source + c])];
      }
    }
  }

  /// The images at `indices`, in that order, in fresh arrays.
  @Override
  public Images select(int... indices) {
    int size = imageSize();
    var chosen = new byte[Math.multiplyExact(indices.length, size)];
    var chosenLabels = new byte[indices.length];
    for (int i = 0; i < indices.length; i++) {
      Objects.checkIndex(indices[i], count);
      System.arraycopy(pixels, indices[i] * size, chosen, i * size, size);
      chosenLabels[i] = labels[indices[i]];
    }
    return new Images(indices.length, height, width, channels, chosen, chosenLabels);
  }

  /// How many images each of the classes `0..classes-1` has.
  public int[] classCounts(int classes) {
    var counts = new int[classes];
    for (byte label : labels) {
      counts[Byte.toUnsignedInt(label)]++;
    }
    return counts;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Images that
        && count == that.count
        && height == that.height
        && width == that.width
        && channels == that.channels
        && Arrays.equals(pixels, that.pixels)
        && Arrays.equals(labels, that.labels);
  }

  @Override
  public int hashCode() {
    return 31 * Arrays.hashCode(labels) + Arrays.hashCode(pixels);
  }

  @Override
  public String toString() {
    return "Images(%d, %d, %d, %d)".formatted(count, height, width, channels);
  }

  private static float[] unitTable() {
    var table = new float[256];
    for (int value = 0; value < table.length; value++) {
      table[value] = ImageBytes.unit(value);
    }
    return table;
  }
}
