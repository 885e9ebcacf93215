package io.retort.report;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.metrics.Metric;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;

/// Medians, spreads and verdicts at the end of runs.
class StandingsTest {

  @Test
  void anIdeaWorksIfItsGainIsMoreThanTwiceTheSpread() {
    assertThat(verdict(Metric.FRECHET_LENET, ends(1, 2, 3), ends(5.1, 5, 4.9))).isEqualTo("works");
    assertThat(verdict(Metric.FRECHET_LENET, ends(1, 2, 3), ends(4.1, 3.9, 4)))
        .isEqualTo("no difference seen at this scale");
    assertThat(verdict(Metric.FRECHET_LENET, ends(5, 5, 5), ends(1, 1, 1)))
        .isEqualTo("worse with it at this scale");
    assertThat(verdict(Metric.FRECHET_LENET, ends(1), ends(9))).isEqualTo("one seed says nothing");
  }

  @Test
  void whereMoreIsBetterTheGainHasTheOtherSign() {
    assertThat(verdict(Metric.PRECISION, ends(.8, .81, .8), ends(.5, .51, .5))).isEqualTo("works");
    assertThat(verdict(Metric.PRECISION, ends(.5, .51, .5), ends(.8, .81, .8)))
        .isEqualTo("worse with it at this scale");
  }

  @Test
  void aRowHoldsMediansAndEveryRun() {
    Standings standings = new Standings(Metric.FRECHET_LENET);
    standings.add("sid", ends(3, 1, 2));
    standings.addControl("sid", "without_correction", ends(8, 9, 7));

    assertThat(standings.rows())
        .containsExactly(
            List.of(
                "sid",
                "300",
                "20",
                "1000",
                "**2.00** (3.00, 1.00, 2.00)",
                "without correction",
                "**8.00** (8.00, 9.00, 7.00)",
                "works"));
    assertThat(standings.beside()).contains("teacher (35 evaluations) 1.04, floor 0.430");
  }

  @Test
  void withoutAControlThereIsNoVerdict() {
    Standings standings = new Standings(Metric.FRECHET_LENET);
    standings.add("swiftbrush", ends(3, 1));

    assertThat(standings.rows().getFirst()).endsWith("**2.00** (3.00, 1.00)", "-", "-", "-");
  }

  private static String verdict(Metric metric, List<RunSummary> with, List<RunSummary> without) {
    Standings standings = new Standings(metric);
    standings.add("a", with);
    standings.addControl("a", "without_it", without);
    return standings.rows().getFirst().getLast();
  }

  private static List<RunSummary> ends(double... values) {
    return Arrays.stream(values).mapToObj(StandingsTest::end).toList();
  }

  private static RunSummary end(double value) {
    SequencedMap<String, Map<String, Double>> rows = new LinkedHashMap<>();
    rows.put("floor", Map.of("frechet_lenet", .43));
    rows.put("teacher", Map.of("frechet_lenet", 1.04, "nfe", 35.0));
    rows.put("student", Map.of("n", 1000.0, "frechet_lenet", value, "precision", value));
    return new RunSummary(1, 300, 20, rows);
  }
}
