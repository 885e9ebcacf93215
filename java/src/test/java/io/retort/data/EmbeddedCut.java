package io.retort.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Random;

/// Cuts the embedded part of Fashion-MNIST out of the full set; see `README.txt` beside the sheets.
///
/// Rule: per split and class, the indices of that class in file order are shuffled by
/// `Collections.shuffle(indices, new Random(SEED + class))` and the first k are taken (k = 1200 of
/// train, all 1000 of test). Tile `i` of a sheet is number `i / 10` of class `i mod 10`.
final class EmbeddedCut {
  static final long SEED = 2017;
  static final int TRAIN_PER_CLASS = 1200;
  static final int TEST_PER_CLASS = 1000;

  private EmbeddedCut() {}

  /// `EmbeddedCut FOLDER_WITH_THE_FULL_SET FOLDER_FOR_THE_SHEETS`
  public static void main(String[] arguments) throws IOException {
    var full = IdxPackage.FASHION_MNIST.in(Path.of(arguments[0]));
    var target = Path.of(arguments[1]);
    write(cut(full.train(), TRAIN_PER_CLASS), target.resolve(EmbeddedFashion.TRAIN_SHEET));
    write(cut(full.test(), TEST_PER_CLASS), target.resolve(EmbeddedFashion.TEST_SHEET));
  }

  static Images cut(Images split, int perClass) {
    var chosen = new int[perClass * EmbeddedFashion.CLASSES];
    for (int label = 0; label < EmbeddedFashion.CLASSES; label++) {
      var indices = new ArrayList<Integer>();
      for (int i = 0; i < split.count(); i++) {
        if (split.label(i) == label) {
          indices.add(i);
        }
      }
      Collections.shuffle(indices, new Random(SEED + label));
      for (int k = 0; k < perClass; k++) {
        chosen[k * EmbeddedFashion.CLASSES + label] = indices.get(k);
      }
    }
    return split.select(chosen);
  }

  private static void write(Images images, Path file) throws IOException {
    byte[] png = new PngGrid(EmbeddedFashion.COLUMNS, 1, 0).png(images);
    Files.write(file, png);
    System.out.printf(
        "%s: %d images, %d bytes, pixels sha256 %s%n",
        file.getFileName(), images.count(), png.length, Checksum.sha256(images.pixels()));
  }
}
