package io.retort.data;

/// Labelled images of one size that are asked for one by one: in memory ([Images]), or decoded when
/// they are wanted.
///
/// Safe for several threads.
public interface ImageSource {
  int count();

  int height();

  int width();

  int channels();

  /// Values per image: `height * width * channels`.
  default int imageSize() {
    return height() * width() * channels();
  }

  /// The class of image `index`.
  int label(int index);

  /// The images at `indices`, in that order, in memory; labels modulo 256.
  default Images select(int... indices) {
    var values = new float[Math.multiplyExact(indices.length, imageSize())];
    var labels = new byte[indices.length];
    for (int i = 0; i < indices.length; i++) {
      copyUnit(indices[i], false, values, i * imageSize());
      labels[i] = (byte) label(indices[i]);
    }
    byte[] pixels = ImageBytes.quantise(values);
    return new Images(indices.length, height(), width(), channels(), pixels, labels);
  }

  /// Writes image `index` as `x / 127.5 - 1`, channels last, to `out[offset ..]`, mirrored left to
  /// right if `flip`.
  ///
  /// @throws DataException if its file is damaged
  void copyUnit(int index, boolean flip, float[] out, int offset);
}
