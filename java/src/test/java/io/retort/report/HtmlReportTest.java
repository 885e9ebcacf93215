package io.retort.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class HtmlReportTest {
  private static final String HOSTILE = "<script>alert('1')</script>&\"";
  private static final String HARMLESS =
      "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;";

  @TempDir Path directory;

  @Test
  void everyTextIsEscaped() {
    String page =
        HtmlReport.titled(HOSTILE)
            .lead(HOSTILE)
            .facts(Map.of(HOSTILE, HOSTILE))
            .section(HOSTILE)
            .text(HOSTILE)
            .claim(HOSTILE, true, HOSTILE)
            .image(png(8, 4), HOSTILE, 2)
            .table(List.of(HOSTILE), List.of(List.of(HOSTILE)), HOSTILE)
            .plot(SvgPlot.lines(HOSTILE))
            .pre(HOSTILE, HOSTILE)
            .footer(HOSTILE)
            .html();
    assertThat(page).doesNotContain("<script", "alert('");
    assertThat(page.split(Pattern.quote(HARMLESS), -1)).hasSize(20);
  }

  @Test
  void nothingIsLoadedFromElsewhere() {
    String page = HtmlReport.titled("t").image(png(1, 1), "c", 1).plot(SvgPlot.lines("p")).html();
    assertThat(page.replace("xmlns=\"http://www.w3.org/2000/svg\"", ""))
        .doesNotContain("http://", "https://", "<link", "@import", "url(");
  }

  @Test
  void picturesAreShownAtTheirZoomedSize() {
    String page = HtmlReport.titled("t").image(png(8, 4), "caption", 3).html();
    assertThat(page).contains("class=\"sharp\" width=\"24\" height=\"12\" alt=\"caption\"");
    assertThatThrownBy(() -> HtmlReport.titled("t").image(new byte[30], "c", 1))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void picturesThatFollowEachOtherShareARow() {
    String page =
        HtmlReport.titled("t")
            .image(png(1, 1), "a", 1)
            .image(png(1, 1), "b", 1)
            .text("between")
            .image(png(1, 1), "c", 1)
            .html();
    assertThat(page.split("class=\"figures\"", -1)).hasSize(3);
  }

  @Test
  void columnsOfNumbersAreAlignedRight() {
    List<String> headers = List.of("row", "fréchet", "speed");
    List<List<String>> rows =
        List.of(List.of("floor", "1.52", "–"), List.of("student", "4.3 ± 0.1", "1,410"));
    String page = HtmlReport.titled("t").table(headers, rows, Set.of(1), "").html();
    assertThat(page)
        .contains("<th>row</th><th class=\"n\">fréchet</th><th class=\"n\">speed</th>")
        .contains("<tr class=\"hi\"><td>student</td>");
    assertThatThrownBy(() -> HtmlReport.titled("t").table(headers, List.of(List.of("short")), ""))
        .hasMessage("table: a row has 1 cells, the header 3");
  }

  @Test
  void theFileAppearsAsAWholeOrNotAtAll() throws Exception {
    Path file = directory.resolve("report.html");
    HtmlReport.titled("t").writeTo(file);
    assertThat(Files.readString(file)).startsWith("<!doctype html>").endsWith("</html>\n");
    assertThatThrownBy(() -> HtmlReport.titled("t").writeTo(file.resolve("below.html")))
        .isInstanceOf(UncheckedIOException.class)
        .hasMessage(file.resolve("below.html") + ": not a directory");
  }

  /// The start of a PNG file, which is all that the report looks at.
  private static byte[] png(int width, int height) {
    return ByteBuffer.allocate(33)
        .put(new byte[] {(byte) 0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 0, 0, 13})
        .put(new byte[] {'I', 'H', 'D', 'R'})
        .putInt(width)
        .putInt(height)
        .array();
  }
}
