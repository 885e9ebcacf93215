package io.retort.data;

import java.util.Arrays;

/// Lays images out in rows of `columns`, each pixel `zoom` times enlarged, and makes one PNG of
/// them.
///
/// The gaps between images, and the places of a last row that is not full, are white.
///
/// @param columns images per row
/// @param zoom screen pixels per image pixel, a side
/// @param padding white pixels between images and around all
public record PngGrid(int columns, int zoom, int padding) {
  private static final byte WHITE = (byte) 255;

  public PngGrid {
    if (columns < 1 || zoom < 1 || padding < 0) {
      throw new IllegalArgumentException(
          "png grid: columns and zoom must be at least 1 and padding at least 0, got %d, %d and %d"
              .formatted(columns, zoom, padding));
    }
  }

  /// As square a grid as `count` images allow, small images enlarged to about 64 pixels a side.
  public static PngGrid fitting(int count, int height) {
    int columns = Math.max(1, (int) Math.ceil(Math.sqrt(count)));
    return new PngGrid(columns, Math.max(1, 64 / height), 2);
  }

  /// All images of `images` as the bytes of a PNG file.
  public byte[] png(Images images) {
    return png(images.pixels(), images.count(), images.height(), images.width(), images.channels());
  }

  /// Float images in `[-1, 1]`, quantised as metrics see them.
  ///
  /// @throws DataException if a value is not finite
  public byte[] png(float[] images, int count, int height, int width, int channels) {
    return png(ImageBytes.quantise(images), count, height, width, channels);
  }

  /// 8-bit images `(count, height, width, channels)` with 1 to 4 channels.
  public byte[] png(byte[] images, int count, int height, int width, int channels) {
    if (count < 1 || images.length != (long) count * height * width * channels) {
      throw new IllegalArgumentException(
          "png grid: (%d, %d, %d, %d) images must have as many bytes, got %d"
              .formatted(count, height, width, channels, images.length));
    }
    int rows = Math.ceilDiv(count, columns);
    int tileHeight = height * zoom + padding;
    int tileWidth = width * zoom + padding;
    int sheetHeight = Math.addExact(Math.multiplyExact(rows, tileHeight), padding);
    int sheetWidth = Math.addExact(Math.multiplyExact(columns, tileWidth), padding);
    var sheet = new byte[Math.multiplyExact(Math.multiplyExact(sheetHeight, sheetWidth), channels)];
    Arrays.fill(sheet, WHITE);
    for (int image = 0; image < count; image++) {
      int top = padding + image / columns * tileHeight;
      int left = padding + image % columns * tileWidth;
      for (int y = 0; y < height * zoom; y++) {
        int from = (image * height + y / zoom) * width * channels;
        int to = ((top + y) * sheetWidth + left) * channels;
        copyRow(images, from, sheet, to, width, channels);
      }
    }
    return new Png(sheetWidth, sheetHeight, channels, sheet).encode();
  }

  private void copyRow(byte[] images, int from, byte[] sheet, int to, int width, int channels) {
    if (zoom == 1) {
      System.arraycopy(images, from, sheet, to, width * channels);
      return;
    }
    for (int x = 0; x < width * zoom; x++) {
      System.arraycopy(images, from + x / zoom * channels, sheet, to + x * channels, channels);
    }
  }
}
