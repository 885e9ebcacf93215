package io.retort.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.w3c.dom.Document;
import org.w3c.dom.Element;

final class SvgPlotTest {

  @Test
  void aCurveGoesThroughItsPoints() throws Exception {
    Document svg =
        parsed(SvgPlot.lines("loss").series("a", new double[] {0, 10}, new double[] {0, 6}));
    assertThat(paths(svg, "s0")).containsExactly("M52.0 302.0L564.0 52.0");
  }

  @Test
  void valuesThatCannotBeShownLeaveAGap() throws Exception {
    double[] x = {1, 2, 3, 4, 5, 6};
    double[] y = {1, 10, Double.NaN, 10, 0, 100};
    Document svg = parsed(SvgPlot.lines("loss").logY().series("a", x, y));
    assertThat(paths(svg, "s0").getFirst().chars().filter(c -> c == 'M')).hasSize(3);
  }

  @Test
  void longSeriesKeepTheirExtremes() throws Exception {
    double[] x = IntStream.range(0, 1_000_000).asDoubleStream().toArray();
    double[] y = Arrays.stream(x).map(Math::sin).toArray();
    y[777_777] = 5;
    String svg = SvgPlot.lines("spike").series("a", x, y).svg();
    assertThat(svg.length()).isLessThan(60_000);
    assertThat(paths(parsed(svg), "s0").getFirst()).contains("L450.2 52.0");
  }

  @Test
  void smoothingKeepsTheRawCurveBehindAndHasNoBiasAtTheStart() throws Exception {
    Document svg =
        parsed(
            SvgPlot.lines("loss")
                .smoothing(0.9)
                .series("a", new double[] {0, 1, 2}, new double[] {4, 4, 4})
                .series("b", new double[] {0, 1, 2}, new double[] {1, 2, 3}));
    assertThat(paths(svg, "s0")).isEqualTo(paths(svg, "s0 raw"));
    assertThat(paths(svg, "s1")).isNotEqualTo(paths(svg, "s1 raw"));
  }

  @Test
  void everyFormSurvivesEmptyConstantAndHostileInput() throws Exception {
    double[] none = {};
    double[] one = {3};
    double[] bad = {Double.NaN};
    String hostile = "</svg><script>alert(1)</script>&\"'\u0000";
    for (var plot :
        List.of(
            SvgPlot.lines(hostile),
            SvgPlot.lines("").series("none", none, none).logX().logY(),
            SvgPlot.lines(hostile).axes(hostile, hostile).series(hostile, one, one),
            SvgPlot.lines("").series("bad", bad, bad).series("bad", one, bad).logY(),
            SvgPlot.scatter("").series(hostile, one, one).reference(hostile, 3),
            SvgPlot.bars("", List.of()),
            SvgPlot.bars("", List.of(hostile, "b")).series(hostile, 1, -2).series("n", 0, 0),
            SvgPlot.bars("", List.of("a")).series("s", 100).logY())) {
      String svg = plot.svg();
      parsed(svg);
      assertThat(svg).doesNotContain("<script", "NaN", "Infinity");
    }
  }

  @Test
  void refusesSeriesThatDoNotFit() {
    assertThatThrownBy(() -> SvgPlot.lines("").series("a", new double[2], new double[3]))
        .hasMessage("a: 2 x values but 3 y values");
    assertThatThrownBy(() -> SvgPlot.bars("", List.of("a")).series("s", 1, 2))
        .hasMessage("s: 2 values for 1 categories");
    assertThatThrownBy(() -> SvgPlot.lines("").smoothing(1)).hasMessageContaining("[0, 1)");
  }

  @ParameterizedTest
  @CsvSource({
    "0, 1, '[0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]'",
    "0.3, 7.1, '[0.0, 2.0, 4.0, 6.0, 8.0]'",
    "-3, 3, '[-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]'",
    "1000, 1001, '[1000.0, 1000.2, 1000.4000000000001, 1000.6, 1000.8000000000001, 1001.0]'",
  })
  void linearTicksAreRoundNumbersAroundTheData(double low, double high, String ticks) {
    assertThat(Axis.over(low, high, false, true).ticks()).hasToString(ticks);
  }

  @ParameterizedTest
  @CsvSource({
    "0.02, 3, '[0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]'",
    "1, 1000, '[1.0, 10.0, 100.0, 1000.0]'",
    "1e-12, 1e9, '[1.0E-12, 1.0E-9, 1.0E-6, 0.001, 1.0, 1000.0, 1000000.0, 1.0E9]'",
  })
  void logarithmicTicksAreDecadesOrTheirParts(double low, double high, String ticks) {
    var rounded =
        Axis.over(low, high, true, true).ticks().stream()
            .map(tick -> Double.valueOf(String.format(Locale.ROOT, "%.6e", tick)))
            .toList();
    assertThat(rounded).hasToString(ticks);
  }

  @ParameterizedTest
  @CsvSource({
    "0, 0",
    "-1.5, −1.5",
    "0.0001, 0.0001",
    "0.00002, 2e-5",
    "1234, 1234",
    "12345, 12.35k",
    "2500000, 2.5M",
    "1e12, 1e12",
    "0.6000000000000001, 0.6",
    "99999.6, 100k",
  })
  void labelsAreShort(double value, String label) {
    assertThat(Axis.label(value)).isEqualTo(label);
  }

  private static Document parsed(SvgPlot plot) throws Exception {
    return parsed(plot.svg());
  }

  private static Document parsed(String svg) throws Exception {
    return DocumentBuilderFactory.newInstance()
        .newDocumentBuilder()
        .parse(new ByteArrayInputStream(svg.getBytes(StandardCharsets.UTF_8)));
  }

  private static List<String> paths(Document svg, String style) {
    var elements = svg.getElementsByTagName("path");
    return IntStream.range(0, elements.getLength())
        .mapToObj(i -> (Element) elements.item(i))
        .filter(path -> path.getAttribute("class").equals(style))
        .map(path -> path.getAttribute("d"))
        .toList();
  }
}
