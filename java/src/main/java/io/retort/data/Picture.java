package io.retort.data;

/// The pixels of a PNG or JPEG file as the images of a set: 8 bits, channels last, nothing
/// transparent.
///
/// Transparent pixels are laid over white; grey becomes colour where the set has colour. Plain PNG
/// files are read without `java.desktop`, everything else through it.
final class Picture {
  private static final int WHITE = 255;

  private Picture() {}

  /// Decodes a picture that must have this size.
  ///
  /// @param file its name, for messages
  /// @return `height * width * channels` bytes
  /// @throws DataException if it is damaged or of another size
  static byte[] decode(String file, byte[] bytes, int height, int width, int channels) {
    PictureHeader header = PictureHeader.read(file, count -> bytes, bytes.length);
    if (header.height() != height || header.width() != width || header.channels() > channels) {
      throw new DataException(
          file,
          "must be %dx%d with %d channels as the first picture is, got %dx%d with %d"
              .formatted(
                  height, width, channels, header.height(), header.width(), header.channels()));
    }
    return opaque(header.plain() ? Png.decode(file, bytes) : desktop(file, bytes), channels);
  }

  private static Png desktop(String file, byte[] bytes) {
    try {
      return DesktopPicture.decode(file, bytes);
    } catch (LinkageError missing) {
      throw new DataException(
          file,
          "needs a Java with the module java.desktop; 8-bit PNG files without palette do not",
          missing);
    }
  }

  /// Lays a picture over white and repeats grey where colour is wanted.
  static byte[] opaque(Png picture, int channels) {
    byte[] source = picture.pixels();
    int wide = picture.channels();
    if (wide == channels) {
      return source;
    }
    int pixels = picture.width() * picture.height();
    boolean alpha = wide == 2 || wide == 4;
    int colours = alpha ? wide - 1 : wide;
    var target = new byte[Math.multiplyExact(pixels, channels)];
    for (int i = 0; i < pixels; i++) {
      int opacity = alpha ? Byte.toUnsignedInt(source[i * wide + colours]) : WHITE;
      for (int c = 0; c < channels; c++) {
        int value = Byte.toUnsignedInt(source[i * wide + Math.min(c, colours - 1)]);
        int blended = (value * opacity + WHITE * (WHITE - opacity) + WHITE / 2) / WHITE;
        target[i * channels + c] = (byte) blended;
      }
    }
    return target;
  }
}
