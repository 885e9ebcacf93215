package io.retort.cli;

import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.NpyFile;
import io.retort.checkpoint.NpzFile;
import io.retort.data.DataCard;
import io.retort.data.DataException;
import io.retort.data.Datasets;
import io.retort.data.ImageBytes;
import io.retort.data.Images;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/// Real images from a file, for `eval --reference`: 8-bit `(N, H, W, C)` in a `.npy` or `.npz` as
/// the ecosystem keeps batches of samples, float `(N, C, H, W)` as Retort writes them, or a folder
/// or zip of pictures.
///
/// Files of statistics are refused: those that are around are of another network's features.
final class ReferenceImages {
  private static final List<String> STATISTICS = List.of("mu", "sigma");

  private ReferenceImages() {}

  /// Reads images of the size of a data set's.
  ///
  /// @throws CheckpointException or DataException with the reason in one sentence
  static Images read(Path file, DataCard like) {
    String name = String.valueOf(file.getFileName());
    Images images =
        name.endsWith(".npz")
            ? batch(file)
            : name.endsWith(".npy")
                ? images(file, NpyFile.read(file))
                : Datasets.get(known(file).toString()).train();
    if (images.height() != like.height()
        || images.width() != like.width()
        || images.channels() != like.channels()) {
      throw new DataException(
          file.toString(),
          "holds %dx%dx%d images, %s has %dx%dx%d"
              .formatted(
                  images.height(),
                  images.width(),
                  images.channels(),
                  like.name(),
                  like.height(),
                  like.width(),
                  like.channels()));
    }
    return images;
  }

  private static Path known(Path file) {
    if (Files.exists(file)) {
      return file;
    }
    throw new DataException(file.toString(), "does not exist");
  }

  private static Images batch(Path file) {
    try (NpzFile opened = NpzFile.open(file)) {
      List<String> names = opened.names();
      if (names.containsAll(STATISTICS)) {
        throw new CheckpointException(
            file,
            "",
            "holds statistics of %d features of some network; Retort measures with its own, give"
                    .formatted(opened.read(STATISTICS.getFirst()).shape()[0])
                + " the images they are of");
      }
      if (names.isEmpty()) {
        throw new CheckpointException(file, "", "holds no arrays");
      }
      return images(file, opened.read(names.contains("arr_0") ? "arr_0" : names.getFirst()));
    }
  }

  private static Images images(Path file, NpyFile array) {
    long[] shape = array.shape();
    boolean bytes = array.typeName().equals("u1");
    if (shape.length != 4
        || (!bytes && array.typeName().charAt(0) != 'f')
        || Arrays.stream(shape).anyMatch(each -> each < 1)) {
      throw new CheckpointException(
          file,
          "",
          "must be u1 of shape (N, H, W, C) or floats (N, C, H, W), got %s of shape %s"
              .formatted(array.typeName(), ImageArrays.text(shape)));
    }
    int count = (int) shape[0];
    if (bytes) {
      return new Images(
          count, (int) shape[1], (int) shape[2], (int) shape[3], array.bytes(), new byte[count]);
    }
    float[] pixels = ImageArrays.transposed(array.floats(), shape[1], shape[2] * shape[3]);
    return new Images(
        count,
        (int) shape[2],
        (int) shape[3],
        (int) shape[1],
        ImageBytes.quantise(pixels),
        new byte[count]);
  }
}
