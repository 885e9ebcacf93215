package io.retort.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class MetricTableTest {

  private static final MetricTable TABLE =
      new MetricTable(
          List.of(
              MetricRow.of("floor", 0, 2000)
                  .with(Metric.FRECHET_LENET, 1.524_658)
                  .with(Metric.PRECISION, 0.91),
              MetricRow.of("teacher", 35, 2000)
                  .with(Metric.FRECHET_LENET, 4.111)
                  .with(Metric.PRECISION, 0.8)
                  .with(Metric.KERNEL_LENET_SD, 0.01)
                  .with(Metric.IMAGES_PER_SECOND, 31.25),
              MetricRow.of("student", 1, 2000)
                  .with(Metric.FRECHET_LENET, 5.5)
                  .with(Metric.PRECISION, 0.8)
                  .with(Metric.RECALL, Double.NaN)
                  .with(Metric.IMAGES_PER_SECOND, 1093.4)),
          List.of("n = 2000 in every row."));

  @Test
  void textIsAlignedAndMarksTheBest() {
    assertThat(TABLE.text())
        .isEqualTo(
            """
            name     NFE     n  Fréchet-LeNet  precision  images/s
            floor      -  2000           1.52      0.910         -
            teacher   35  2000          4.11*     0.800*      31.3
            student    1  2000           5.50     0.800*     1093*
            n = 2000 in every row.
            """);
  }

  @Test
  void jsonHasTheKeysOfTheSummaryAndNoHoles() {
    assertThat(TABLE.json().get(1))
        .isEqualTo(
            Map.of(
                "name", "teacher",
                "nfe", 35,
                "n", 2000,
                "frechet_lenet", 4.111,
                "kernel_lenet_sd", 0.01,
                "precision", 0.8,
                "images_per_second", 31.25));
    assertThat(TABLE.json().get(1).sequencedKeySet().stream().limit(4))
        .containsExactly("name", "nfe", "n", "frechet_lenet");
    assertThat(TABLE.json().get(2)).doesNotContainKey("recall");
  }

  @Test
  void keysAndHeadingsAreUnique() {
    assertThat(Metric.values()).extracting(Metric::key).doesNotHaveDuplicates();
    assertThat(Metric.values()).extracting(Metric::heading).doesNotHaveDuplicates();
  }

  @ParameterizedTest
  @CsvSource({
    "1.524658,1.52",
    "0.001024224,0.00102",
    "1069.8,1070",
    "-0.00031,-0.000310",
    "0,0",
    "1e-9,1.00e-09",
    "12345678,1.23e+07",
    "999.96,1000",
    "NaN,-"
  })
  void threeSignificantDigits(double value, String text) {
    assertThat(MetricTable.format(value)).isEqualTo(text);
  }

  @Test
  void valuesAreFiniteOrAbsent() {
    MetricRow row = MetricRow.of("student", 1, 10);
    assertThat(row.value(Metric.RECALL)).isNaN();
    assertThat(row.with(Metric.RECALL, 0.5).with(Metric.RECALL, Double.NaN)).isEqualTo(row);
    assertThatThrownBy(() -> row.with(Metric.CLASS_CHI2, Double.POSITIVE_INFINITY))
        .hasMessage("metric row: class_chi2 of student must be finite, got Infinity");
    assertThatThrownBy(() -> MetricRow.of(" ", 1, 10)).hasMessageContaining("name");
  }
}
