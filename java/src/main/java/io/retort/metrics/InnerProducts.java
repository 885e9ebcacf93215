package io.retort.metrics;

import java.util.Arrays;

/// `x_i . y_j` for all rows of two matrices, handed out in strips; the full matrix never exists.
///
/// The right-hand rows are transposed in panels of [#PANEL] columns, two left-hand rows are
/// multiplied with a panel at a time, four terms per pass: loops that HotSpot turns into vector
/// code without the incubating Vector API (about 7 billion multiply-adds per second on one core
/// with AVX2). Sums run in a fixed order, so results repeat exactly and `x . y = y . x`.
final class InnerProducts {

  /// Columns of a strip; 256 columns of 128 floats stay in the second-level cache.
  static final int PANEL = 256;

  /// Receives one strip: products of left row `row` with right rows `column .. column + columns -
  /// 1`.
  interface Strip {
    /// @param products the products, from index `offset` on; reused after the call
    void accept(int row, int column, int columns, float[] products, int offset);
  }

  private InnerProducts() {}

  /// Calls `strip` for every left row of every panel: panels in order, rows in order within a
  /// panel.
  ///
  /// @throws IllegalArgumentException if the rows differ in length
  static void forEach(PackedRows left, PackedRows right, Strip strip) {
    if (left.stride() != right.stride()) {
      throw new IllegalArgumentException(
          "metrics: vectors must be of one length, got %d and %d (rounded up to a multiple of 4)"
              .formatted(left.stride(), right.stride()));
    }
    int stride = left.stride();
    var panel = new float[stride * PANEL];
    var products = new float[2 * PANEL];
    for (int column = 0; column < right.count(); column += PANEL) {
      int columns = Math.min(PANEL, right.count() - column);
      transpose(right, column, columns, panel);
      for (int row = 0; row < left.count(); row += 2) {
        Arrays.fill(products, 0);
        multiply(left.values(), row * stride, stride, panel, products);
        strip.accept(row, column, columns, products, 0);
        if (row + 1 < left.count()) {
          strip.accept(row + 1, column, columns, products, PANEL);
        }
      }
    }
  }

  private static void transpose(PackedRows right, int column, int columns, float[] panel) {
    int stride = right.stride();
    float[] values = right.values();
    Arrays.fill(panel, 0);
    for (int j = 0; j < columns; j++) {
      int from = (column + j) * stride;
      for (int k = 0; k < stride; k++) {
        panel[k * PANEL + j] = values[from + k];
      }
    }
  }

  /// Two rows starting at `first` and `first + stride`, times the panel, added to the two strips.
  private static void multiply(
      float[] rows, int first, int stride, float[] panel, float[] products) {
    for (int k = 0; k < stride; k += 4) {
      int a = first + k;
      int b = a + stride;
      float a0 = rows[a];
      float a1 = rows[a + 1];
      float a2 = rows[a + 2];
      float a3 = rows[a + 3];
      float b0 = rows[b];
      float b1 = rows[b + 1];
      float b2 = rows[b + 2];
      float b3 = rows[b + 3];
      int p = k * PANEL;
      for (int j = 0; j < PANEL; j++) {
        float p0 = panel[p + j];
        float p1 = panel[p + PANEL + j];
        float p2 = panel[p + 2 * PANEL + j];
        float p3 = panel[p + 3 * PANEL + j];
        products[j] += (a0 * p0 + a1 * p1) + (a2 * p2 + a3 * p3);
        products[PANEL + j] += (b0 * p0 + b1 * p1) + (b2 * p2 + b3 * p3);
      }
    }
  }
}
