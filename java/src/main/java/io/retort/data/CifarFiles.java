package io.retort.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/// CIFAR-10 and CIFAR-100 in their binary form: records of one label byte (CIFAR-100: coarse, then
/// fine) and 32x32 pixels as a red, a green and a blue plane.
///
/// Source: the data sets' own description, Krizhevsky 2009.
///
/// @param train files to learn from
/// @param test the held-out file
/// @param labelBytes bytes before the pixels, the last of which is the class
/// @param names the file of class names, if there is one
record CifarFiles(
    String title, List<Path> train, Path test, int labelBytes, int classes, Path names) {
  private static final int SIDE = 32;
  private static final int PLANE = SIDE * SIDE;
  private static final int CHANNELS = 3;
  private static final int MOST_NAME_BYTES = 1 << 16;

  /// The files of a folder, if it is one of CIFAR's.
  ///
  /// @throws DataException if a batch is missing, or it holds CIFAR as Python objects
  static Optional<CifarFiles> find(Path folder) {
    if (Files.isRegularFile(folder.resolve("data_batch_1.bin"))) {
      List<Path> train =
          IntStream.rangeClosed(1, 5)
              .mapToObj(i -> folder.resolve("data_batch_" + i + ".bin"))
              .toList();
      requireAll(folder, train);
      return Optional.of(
          new CifarFiles(
              "CIFAR-10",
              train,
              folder.resolve("test_batch.bin"),
              1,
              10,
              folder.resolve("batches.meta.txt")));
    }
    if (Files.isRegularFile(folder.resolve("train.bin"))) {
      return Optional.of(
          new CifarFiles(
              "CIFAR-100",
              List.of(folder.resolve("train.bin")),
              folder.resolve("test.bin"),
              2,
              100,
              folder.resolve("fine_label_names.txt")));
    }
    if (Files.isRegularFile(folder.resolve("data_batch_1"))
        || (Files.isRegularFile(folder.resolve("meta"))
            && Files.isRegularFile(folder.resolve("train")))) {
      throw new DataException(
          folder.toString(), "holds CIFAR as Python objects; take its binary version instead");
    }
    return Optional.empty();
  }

  private static void requireAll(Path folder, List<Path> batches) {
    String missing =
        batches.stream()
            .filter(file -> !Files.isRegularFile(file))
            .map(file -> file.getFileName().toString())
            .collect(Collectors.joining(", "));
    if (!missing.isEmpty()) {
      throw new DataException(
          folder.toString(), "must hold all five batches of CIFAR-10, but lacks " + missing);
    }
  }

  /// The set; pixels are read when they are wanted.
  ///
  /// @throws DataException if a file has a length that no number of records has
  Dataset dataset(Path folder) {
    int count = train.stream().mapToInt(this::records).sum();
    var card =
        new DataCard(
            folder.toString(),
            "of your own",
            "%s, %,d images to learn from, %,d held out".formatted(title, count, records(test)),
            "none",
            SIDE,
            SIDE,
            CHANNELS,
            classNames(),
            true);
    return new LazyDataset(card, () -> true, () -> read(train), () -> read(List.of(test)));
  }

  private int recordBytes() {
    return labelBytes + CHANNELS * PLANE;
  }

  private int records(Path file) {
    try {
      long bytes = Files.size(file);
      if (bytes == 0 || bytes % recordBytes() != 0 || bytes > Integer.MAX_VALUE / 2) {
        throw new DataException(
            file.toString(),
            "must be records of %d bytes, got %d bytes".formatted(recordBytes(), bytes));
      }
      return (int) (bytes / recordBytes());
    } catch (IOException failure) {
      throw DataException.of(file, failure);
    }
  }

  private Images read(List<Path> files) {
    int count = files.stream().mapToInt(this::records).sum();
    var pixels = new byte[Math.multiplyExact(count, CHANNELS * PLANE)];
    var labels = new byte[count];
    int image = 0;
    for (Path file : files) {
      byte[] bytes = bytes(file);
      for (int at = 0; at < bytes.length; at += recordBytes(), image++) {
        labels[image] = label(file, bytes[at + labelBytes - 1]);
        interleave(bytes, at + labelBytes, pixels, image * CHANNELS * PLANE);
      }
    }
    return new Images(count, SIDE, SIDE, CHANNELS, pixels, labels);
  }

  private byte[] bytes(Path file) {
    try {
      byte[] bytes = Files.readAllBytes(file);
      if (bytes.length != records(file) * recordBytes()) {
        throw new DataException(file.toString(), "changed while it was read");
      }
      return bytes;
    } catch (IOException failure) {
      throw DataException.of(file, failure);
    }
  }

  private byte label(Path file, byte label) {
    if (Byte.toUnsignedInt(label) >= classes) {
      throw new DataException(
          file.toString(),
          "labels must be below %d, got %d".formatted(classes, Byte.toUnsignedInt(label)));
    }
    return label;
  }

  private static void interleave(byte[] planes, int from, byte[] pixels, int to) {
    for (int i = 0; i < PLANE; i++) {
      for (int c = 0; c < CHANNELS; c++) {
        pixels[to + i * CHANNELS + c] = planes[from + c * PLANE + i];
      }
    }
  }

  /// As the folder names them, else numbers.
  private List<String> classNames() {
    try {
      if (Files.isRegularFile(names) && Files.size(names) <= MOST_NAME_BYTES) {
        List<String> lines =
            Arrays.stream(Files.readString(names).split("\\R"))
                .map(String::strip)
                .filter(line -> !line.isEmpty())
                .toList();
        if (lines.size() == classes) {
          return lines;
        }
      }
    } catch (IOException failure) {
      throw DataException.of(names, failure);
    }
    return IntStream.range(0, classes).mapToObj(Integer::toString).toList();
  }
}
