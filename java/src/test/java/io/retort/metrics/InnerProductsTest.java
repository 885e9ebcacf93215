package io.retort.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class InnerProductsTest {

  /// One row, odd counts, panel edges and lengths with every remainder of four.
  @ParameterizedTest
  @CsvSource({"1,1,1", "3,257,5", "2,256,6", "5,255,7", "4,513,128", "7,3,784"})
  void everyProductOnceAndRight(int leftCount, int rightCount, int dimension) {
    float[][] x = Gaussians.standard(leftCount, dimension, 1);
    float[][] y = Gaussians.standard(rightCount, dimension, 2);
    var seen = new int[leftCount][rightCount];
    InnerProducts.forEach(
        PackedRows.of(x),
        PackedRows.of(y),
        (row, column, columns, products, offset) -> {
          for (int j = 0; j < columns; j++) {
            seen[row][column + j]++;
            double expected = dot(x[row], y[column + j]);
            assertThat((double) products[offset + j]).isCloseTo(expected, within(1e-4));
          }
        });
    for (int[] row : seen) {
      assertThat(row).containsOnly(1);
    }
  }

  /// Duplicates must be at distance exactly zero, or a copied image would fall outside its own
  /// ball.
  @Test
  void normsAreBitEqualToProducts() {
    var rows = PackedRows.of(Gaussians.affine(301, 131, 5, 3, 3));
    float[] norms = rows.squaredNorms();
    InnerProducts.forEach(
        rows,
        rows,
        (row, column, columns, products, offset) -> {
          if (row >= column && row < column + columns) {
            assertThat(products[offset + row - column]).isEqualTo(norms[row]);
          }
        });
  }

  @Test
  void directionsAreUnitVectors() {
    var directions = PackedRows.directions(50, 37, new java.util.Random(4));
    for (float norm : directions.squaredNorms()) {
      assertThat(norm).isCloseTo(1, within(1e-5f));
    }
  }

  @Test
  void refusesUnequalLengths() {
    var a = PackedRows.of(Gaussians.standard(2, 4, 5));
    var b = PackedRows.of(Gaussians.standard(2, 5, 5));
    assertThatThrownBy(() -> InnerProducts.forEach(a, b, (r, c, n, p, o) -> {}))
        .hasMessageContaining("got 4 and 8");
  }

  private static double dot(float[] x, float[] y) {
    double sum = 0;
    for (int k = 0; k < x.length; k++) {
      sum += (double) x[k] * y[k];
    }
    return sum;
  }
}
