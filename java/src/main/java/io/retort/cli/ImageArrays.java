package io.retort.cli;

import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.NpyFile;
import io.retort.tensor.Shape;
import java.nio.file.Path;
import java.util.Arrays;

/// Images in `.npy` files: float `(N, C, H, W)` outside, as the ecosystem expects, `(N, H, W, C)`
/// inside.
final class ImageArrays {
  private ImageArrays() {}

  /// Reads images of any count.
  ///
  /// @param image shape of one as the network sees it, `(1, H, W, C)`
  /// @return `(N, H, W, C)` values, all finite
  /// @throws CheckpointException if the array has another shape or type
  static float[] read(Path file, Shape image) {
    NpyFile array = NpyFile.read(file);
    long[] shape = array.shape();
    long[] wanted = {image.dim(3), image.dim(1), image.dim(2)};
    if (shape.length != 4
        || shape[0] < 1
        || !Arrays.equals(Arrays.copyOfRange(shape, 1, 4), wanted)) {
      throw new CheckpointException(
          file,
          "",
          "must have shape (N, %d, %d, %d), got %s"
              .formatted(wanted[0], wanted[1], wanted[2], text(shape)));
    }
    float[] values = array.floats();
    for (float value : values) {
      if (!Float.isFinite(value)) {
        throw new CheckpointException(file, "", "holds a value that is not finite");
      }
    }
    return transposed(values, wanted[0], wanted[1] * wanted[2]);
  }

  /// Writes `(N, H, W, C)` values, unclipped.
  static void write(Path file, float[] values, Shape image) {
    long pixels = image.dim(1) * image.dim(2);
    float[] planes = transposed(values, pixels, image.dim(3));
    NpyFile.write(
        file, planes, values.length / image.elements(), image.dim(3), image.dim(1), image.dim(2));
  }

  /// Every image as a matrix of `rows` by `columns`, transposed.
  static float[] transposed(float[] values, long rows, long columns) {
    int size = Math.toIntExact(rows * columns);
    int height = (int) rows;
    int width = (int) columns;
    var result = new float[values.length];
    for (int image = 0; image < values.length; image += size) {
      for (int row = 0; row < height; row++) {
        for (int column = 0; column < width; column++) {
          result[image + column * height + row] = values[image + row * width + column];
        }
      }
    }
    return result;
  }

  /// A shape as NumPy writes it.
  static String text(long[] shape) {
    return Shape.of(shape).toString();
  }
}
