package io.retort.data;

import java.io.IOException;
import java.io.InputStream;

/// The part of Fashion-MNIST that travels inside the jar, so that training needs no network.
///
/// Each split is one greyscale PNG, a sheet of 28x28 tiles, 100 a row, without gaps: anyone can
/// look at it. Tile `i` has class `i mod 10`, so every column shows one garment, no label file is
/// needed, and any prefix is balanced. `README.txt` beside the sheets says how they were cut.
final class EmbeddedFashion {
  static final String NAME = "fashion-mnist-embedded";
  static final int TILE = 28;
  static final int COLUMNS = 100;
  static final int CLASSES = 10;
  static final String TRAIN_SHEET = "fashion-mnist-train.png";
  static final String TEST_SHEET = "fashion-mnist-test.png";
  static final String TRAIN_SHA256 =
      "2a37a4a792dcb077f25b7e2d0a1c8f9be35bd71bff941b4e3df640a779b11ea4";
  static final String TEST_SHA256 =
      "41c0469a7a62a03a6e60eb26f07c42dd643b308f2f811532b4d71d359f60ff35";

  private EmbeddedFashion() {}

  static Dataset dataset() {
    var card =
        new DataCard(
            NAME,
            "MIT (Zalando SE), licence text beside the data",
            "12,000 + 10,000 garments of Fashion-MNIST, inside the jar",
            TRAIN_SHA256 + " (train pixels)",
            TILE,
            TILE,
            1,
            IdxPackage.GARMENTS,
            false);
    return new LazyDataset(card, () -> true, () -> read(TRAIN_SHEET), () -> read(TEST_SHEET));
  }

  private static Images read(String sheet) {
    try (InputStream in = EmbeddedFashion.class.getResourceAsStream(sheet)) {
      if (in == null) {
        throw new DataException(sheet, "must be inside the jar, but is missing");
      }
      return cutTiles(sheet, Png.decode(sheet, in.readAllBytes()));
    } catch (IOException e) {
      throw new DataException(sheet, "cannot be read from the jar", e);
    }
  }

  /// Tiles of a sheet in reading order, labelled by their column.
  static Images cutTiles(String sheet, Png png) {
    if (png.channels() != 1 || png.width() != COLUMNS * TILE || png.height() % TILE != 0) {
      throw new DataException(
          sheet, "must be a grey sheet of %d columns of %d pixels".formatted(COLUMNS, TILE));
    }
    int count = png.height() / TILE * COLUMNS;
    var pixels = new byte[count * TILE * TILE];
    var labels = new byte[count];
    for (int tile = 0; tile < count; tile++) {
      labels[tile] = (byte) (tile % CLASSES);
      for (int y = 0; y < TILE; y++) {
        int row = tile / COLUMNS * TILE + y;
        int from = row * png.width() + tile % COLUMNS * TILE;
        System.arraycopy(png.pixels(), from, pixels, (tile * TILE + y) * TILE, TILE);
      }
    }
    return new Images(count, TILE, TILE, 1, pixels, labels);
  }
}
