package io.retort.data;

import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.IntStream;

/// A data set of one's own, named by its path: what it is, is told by what lies there.
///
/// A zip of pictures (EDM's layout, or a folder a class); a folder of pictures; CIFAR-10 or
/// CIFAR-100 in binary form; MNIST's four IDX files, plain or gzipped.
final class DataPath {
  private static final String GZIPPED = ".gz";

  private DataPath() {}

  /// The path that a name is, made absolute, if something lies there.
  static Optional<Path> find(String name) {
    try {
      Path path = Path.of(name).toAbsolutePath().normalize();
      return Files.exists(path) ? Optional.of(path) : Optional.empty();
    } catch (InvalidPathException _) {
      return Optional.empty();
    }
  }

  /// Opens what lies at a path.
  ///
  /// @throws DataException if it is no set, or a damaged one
  static Dataset open(Path path) {
    if (!Files.isDirectory(path)) {
      return PictureDataset.open(path);
    }
    Optional<CifarFiles> cifar = CifarFiles.find(path);
    if (cifar.isPresent()) {
      return cifar.get().dataset(path);
    }
    return idx(path).orElseGet(() -> PictureDataset.open(path));
  }

  private static Optional<Dataset> idx(Path folder) {
    Optional<Path> images = either(folder, IdxPackage.TRAIN_IMAGES);
    if (images.isEmpty()) {
      return Optional.empty();
    }
    Path labels = needed(folder, IdxPackage.TRAIN_LABELS);
    Path testImages = needed(folder, IdxPackage.TEST_IMAGES);
    Path testLabels = needed(folder, IdxPackage.TEST_LABELS);
    int[] sizes = IdxFile.sizes(images.get());
    if (sizes.length != 3) {
      throw new DataException(images.get().toString(), "must hold grey images, rank 3");
    }
    int classes = 0;
    for (byte label : IdxFile.read(labels, 1).values()) {
      classes = Math.max(classes, Byte.toUnsignedInt(label) + 1);
    }
    int known = classes;
    var card =
        new DataCard(
            folder.toString(),
            "of your own",
            "%,d images to learn from, %,d held out"
                .formatted(sizes[0], IdxFile.sizes(testImages)[0]),
            "none",
            sizes[1],
            sizes[2],
            1,
            IntStream.range(0, classes).mapToObj(Integer::toString).toList(),
            false);
    return Optional.of(
        new LazyDataset(
            card,
            () -> true,
            () -> IdxFile.readImages(images.get(), labels, known),
            () -> same(card, testImages, IdxFile.readImages(testImages, testLabels, known))));
  }

  private static Images same(DataCard card, Path file, Images images) {
    if (images.height() != card.height() || images.width() != card.width()) {
      throw new DataException(file.toString(), "must have images of the size of the training ones");
    }
    return images;
  }

  private static Path needed(Path folder, String name) {
    return either(folder, name)
        .orElseThrow(() ->
            new DataException(folder.resolve(name).toString(), "is missing beside the others"));
  }

  private static Optional<Path> either(Path folder, String name) {
    Path plain = folder.resolve(name);
    Path gzipped = folder.resolve(name + GZIPPED);
    return Files.isRegularFile(plain)
        ? Optional.of(plain)
        : Files.isRegularFile(gzipped) ? Optional.of(gzipped) : Optional.empty();
  }
}
