package io.retort.data;

/// The one map between 8-bit pixels and the `[-1, 1]` floats that networks see.
///
/// `unit(u) = u / 127.5 - 1` and `quantise(x) = clip(floor(x * 127.5 + 128), 0, 255)`; quantise
/// inverts unit exactly. Metrics and pictures both go through here, so both see the same bytes.
public final class ImageBytes {
  private ImageBytes() {}

  /// `value / 127.5 - 1` in float arithmetic, for `value` in `0..255`.
  public static float unit(int value) {
    return value / 127.5f - 1f;
  }

  /// Rounds to the nearest of 256 levels and clips to the range.
  ///
  /// @throws DataException if a value is NaN or infinite: a broken sample must not pass as black
  public static byte[] quantise(float[] images) {
    var bytes = new byte[images.length];
    for (int i = 0; i < images.length; i++) {
      float x = images[i];
      if (!Float.isFinite(x)) {
        throw new DataException("images", "value %d must be finite, got %s".formatted(i, x));
      }
      bytes[i] = (byte) Math.clamp((long) Math.floor(x * 127.5 + 128), 0, 255);
    }
    return bytes;
  }

  /// The inverse direction: 8-bit pixels as floats in `[-1, 1]`.
  public static float[] toUnit(byte[] pixels) {
    var floats = new float[pixels.length];
    for (int i = 0; i < pixels.length; i++) {
      floats[i] = unit(Byte.toUnsignedInt(pixels[i]));
    }
    return floats;
  }
}
