package io.retort.report;

import io.retort.checkpoint.AtomicFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;
import java.util.regex.Pattern;

/// One page that tells a run: key facts, claims with their evidence, pictures, tables, plots, raw
/// text.
///
/// The page is a single file without a script or a link to anything outside; it follows the
/// reader's light or dark setting and any width. All text given to it is escaped. Pictures and
/// plots that follow each other share rows.
///
/// ```java
/// HtmlReport.titled("Fashion 28x28").lead("A one-step student from a 35-step teacher.")
///     .facts(facts)
///     .section("Samples")
///     .image(png, "Student, 1 evaluation", 2)
///     .writeTo(directory.resolve("report.html"));
/// ```
public final class HtmlReport {
  private static final byte[] PNG_SIGNATURE = {(byte) 0x89, 'P', 'N', 'G', 13, 10, 26, 10};
  private static final Pattern NUMERIC =
      Pattern.compile("[-+−±~<>≤≥×x%$ \\d.,:/eE()–—]*(s|ms|min|h|MB|GB|KB|k|M)?|NaN|n/a");

  private enum Flow {
    BLOCK,
    FIGURE,
    PLOT,
    CLAIM
  }

  private record Block(Flow flow, String html) {}

  private record Section(String title, List<Block> blocks) {}

  private final String title;
  private final SequencedMap<String, String> facts = new LinkedHashMap<>();
  private final List<Section> sections = new ArrayList<>();
  private String lead = "";
  private String footer = "";

  private HtmlReport(String title) {
    this.title = title;
  }

  public static HtmlReport titled(String title) {
    return new HtmlReport(title);
  }

  /// One or two sentences under the title: what was done and how it ended.
  public HtmlReport lead(String text) {
    lead = text;
    return this;
  }

  /// Short facts shown large at the top, name to value; later calls add to them.
  public HtmlReport facts(Map<String, String> more) {
    facts.putAll(more);
    return this;
  }

  /// A line at the end of the page, such as the command that made it.
  public HtmlReport footer(String text) {
    footer = text;
    return this;
  }

  /// Starts a section; what follows goes into it.
  public HtmlReport section(String name) {
    sections.add(new Section(name, new ArrayList<>()));
    return this;
  }

  /// A paragraph.
  public HtmlReport text(String paragraph) {
    return add(Flow.BLOCK, "<p>" + Html.escape(paragraph) + "</p>");
  }

  /// A claim, whether it is met, and the numbers that say so.
  public HtmlReport claim(String claim, boolean met, String measured) {
    return add(
        Flow.CLAIM,
        "<li class=\"%s\"><b>%s</b> %s<span>%s</span></li>"
            .formatted(
                met ? "met" : "missed",
                met ? "met" : "missed",
                Html.escape(claim),
                Html.escape(measured)));
  }

  /// A drawing, trusted as it is.
  HtmlReport svg(String svg) {
    return add(Flow.BLOCK, svg);
  }

  /// A picture from PNG bytes; with `zoom` above 1 its pixels stay sharp squares of that many
  /// screen pixels.
  ///
  /// @throws IllegalArgumentException if the bytes are not a PNG or `zoom` is not positive
  public HtmlReport image(byte[] png, String caption, int zoom) {
    if (png.length < 24 || !Arrays.equals(png, 0, 8, PNG_SIGNATURE, 0, 8) || zoom < 1) {
      throw new IllegalArgumentException("image: needs PNG bytes and a zoom of at least 1");
    }
    int width = ByteBuffer.wrap(png).getInt(16);
    int height = ByteBuffer.wrap(png).getInt(20);
    return add(
        Flow.FIGURE,
        """
        <figure style="--w:%dpx">\
        <img class="%s" width="%d" height="%d" alt="%s" src="data:image/png;base64,%s">\
        <figcaption>%s</figcaption></figure>\
        """
            .formatted(
                (long) width * zoom,
                zoom > 1 ? "sharp" : "smooth",
                (long) width * zoom,
                (long) height * zoom,
                Html.escape(caption),
                Base64.getEncoder().encodeToString(png),
                Html.escape(caption)));
  }

  /// A chart; consecutive ones stand side by side where the page is wide enough.
  public HtmlReport plot(SvgPlot... plots) {
    for (SvgPlot plot : plots) {
      add(Flow.PLOT, "<div class=\"plot\">" + plot.svg() + "</div>");
    }
    return this;
  }

  /// A table; columns of numbers are right-aligned. `note` stands under it and may be empty.
  public HtmlReport table(List<String> headers, List<List<String>> rows, String note) {
    return table(headers, rows, Set.of(), note);
  }

  /// A table with some rows, counted from 0, made to stand out.
  public HtmlReport table(
      List<String> headers, List<List<String>> rows, Set<Integer> highlighted, String note) {
    for (List<String> row : rows) {
      if (row.size() != headers.size()) {
        throw new IllegalArgumentException(
            "table: a row has %d cells, the header %d".formatted(row.size(), headers.size()));
      }
    }
    var html = new StringBuilder("<div class=\"table\"><table><thead><tr>");
    var styles = new ArrayList<String>();
    for (int column = 0; column < headers.size(); column++) {
      int index = column;
      boolean numeric =
          !rows.isEmpty()
              && rows.stream().allMatch(row -> NUMERIC.matcher(row.get(index)).matches());
      styles.add(numeric ? " class=\"n\"" : "");
      html.append(cell("th", styles.get(column), headers.get(column)));
    }
    html.append("</tr></thead><tbody>");
    for (int i = 0; i < rows.size(); i++) {
      html.append(highlighted.contains(i) ? "<tr class=\"hi\">" : "<tr>");
      for (int column = 0; column < headers.size(); column++) {
        html.append(cell("td", styles.get(column), rows.get(i).get(column)));
      }
      html.append("</tr>");
    }
    html.append("</tbody></table></div>");
    if (!note.isEmpty()) {
      html.append("<p class=\"note\">").append(Html.escape(note)).append("</p>");
    }
    return add(Flow.BLOCK, html.toString());
  }

  /// Text as it is, such as a recipe, folded behind its title.
  public HtmlReport pre(String name, String text) {
    return add(
        Flow.BLOCK,
        "<details><summary>%s</summary><pre>%s</pre></details>"
            .formatted(Html.escape(name), Html.escape(text)));
  }

  /// The whole page.
  public String html() {
    var page = new StringBuilder(1 << 16);
    page.append("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.append("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.append("<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    page.append(Html.escape(title)).append("</title>\n<style>\n");
    page.append(Html.resource("report.css")).append("</style>\n</head>\n<body>\n");
    appendHeader(page);
    page.append("<main>\n");
    for (int i = 0; i < sections.size(); i++) {
      page.append("<section id=\"s%d\">\n<h2>".formatted(i + 1));
      page.append(Html.escape(sections.get(i).title)).append("</h2>\n");
      appendBlocks(page, sections.get(i).blocks);
      page.append("</section>\n");
    }
    page.append("</main>\n<footer>")
        .append(Html.escape(footer))
        .append("</footer>\n</body>\n</html>\n");
    return page.toString();
  }

  /// Writes the page as a whole, replacing what is there.
  ///
  /// @throws java.io.UncheckedIOException if it cannot be written
  public void writeTo(Path file) {
    try {
      AtomicFile.write(file, html().getBytes(StandardCharsets.UTF_8));
    } catch (IOException failure) {
      throw AtomicFile.failure(file, failure);
    }
  }

  private void appendHeader(StringBuilder page) {
    page.append("<header>\n<p class=\"brand\">Retort</p>\n<h1>").append(Html.escape(title));
    page.append("</h1>\n");
    if (!lead.isEmpty()) {
      page.append("<p class=\"lead\">").append(Html.escape(lead)).append("</p>\n");
    }
    if (!facts.isEmpty()) {
      page.append("<dl class=\"facts\">");
      facts.forEach((name, value) ->
          page.append("<div>")
              .append(cell("dt", "", name))
              .append(cell("dd", "", value))
              .append("</div>"));
      page.append("</dl>\n");
    }
    page.append("</header>\n");
    if (sections.size() > 1) {
      page.append("<nav>");
      for (int i = 0; i < sections.size(); i++) {
        page.append("<a href=\"#s%d\">".formatted(i + 1));
        page.append(Html.escape(sections.get(i).title)).append("</a>");
      }
      page.append("</nav>\n");
    }
  }

  /// Wraps each run of pictures, plots or claims in one container.
  private static void appendBlocks(StringBuilder page, List<Block> blocks) {
    Flow open = Flow.BLOCK;
    for (Block block : blocks) {
      if (block.flow != open) {
        page.append(end(open)).append(start(block.flow));
        open = block.flow;
      }
      page.append(block.html).append('\n');
    }
    page.append(end(open));
  }

  private static String start(Flow flow) {
    return switch (flow) {
      case BLOCK -> "";
      case FIGURE -> "<div class=\"figures\">\n";
      case PLOT -> "<div class=\"plots\">\n";
      case CLAIM -> "<ul class=\"claims\">\n";
    };
  }

  private static String end(Flow flow) {
    return switch (flow) {
      case BLOCK -> "";
      case FIGURE, PLOT -> "</div>\n";
      case CLAIM -> "</ul>\n";
    };
  }

  private static String cell(String element, String style, String text) {
    return "<" + element + style + ">" + Html.escape(text) + "</" + element + ">";
  }

  private HtmlReport add(Flow flow, String html) {
    if (sections.isEmpty()) {
      section("Overview");
    }
    sections.getLast().blocks.add(new Block(flow, html));
    return this;
  }
}
