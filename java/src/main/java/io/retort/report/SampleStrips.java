package io.retort.report;

import io.retort.checkpoint.AtomicFile;
import io.retort.data.Png;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Base64;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.stream.Stream;

/// What several runs drew last, a strip each with its name: all from the same noise, so that
/// columns can be compared.
final class SampleStrips {
  private static final int ZOOM = 2;
  private static final int NAMES = 270;
  private static final int GAP = 4;

  private final SequencedMap<String, Png> strips = new LinkedHashMap<>();

  /// Adds the first row of a run's newest sheet; nothing for a run without pictures.
  ///
  /// @throws RunException if the sheet cannot be read
  void add(String name, Path run) {
    newest(run)
        .ifPresent(sheet -> {
          try {
            strips.put(name, firstRow(Png.decode(sheet.toString(), Files.readAllBytes(sheet))));
          } catch (IOException failure) {
            throw new RunException(
                run, "has a picture that cannot be read: " + AtomicFile.reason(failure));
          }
        });
  }

  boolean isEmpty() {
    return strips.isEmpty();
  }

  /// All strips under each other.
  String svg() {
    int width = strips.values().stream().mapToInt(strip -> strip.width() * ZOOM).max().orElse(0);
    int height = strips.values().stream().mapToInt(strip -> strip.height() * ZOOM + GAP).sum();
    StringBuilder svg = new StringBuilder();
    svg.append(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"13\">"
            .formatted(NAMES + width, height));
    int top = 0;
    for (var strip : strips.entrySet()) {
      Png png = strip.getValue();
      int rowHeight = png.height() * ZOOM;
      svg.append(
          String.format(
              Locale.ROOT,
              "<text x=\"%d\" y=\"%d\" text-anchor=\"end\" fill=\"#777\">%s</text><image x=\"%d\""
                  + " y=\"%d\" width=\"%d\" height=\"%d\" style=\"image-rendering:pixelated\""
                  + " href=\"data:image/png;base64,%s\"/>",
              NAMES - 8,
              top + rowHeight / 2 + 5,
              Html.escape(strip.getKey()),
              NAMES,
              top,
              png.width() * ZOOM,
              rowHeight,
              Base64.getEncoder().encodeToString(png.encode())));
      top += rowHeight + GAP;
    }
    return svg.append("</svg>").toString();
  }

  private static Optional<Path> newest(Path run) {
    Path samples = run.resolve(RunDirectory.SAMPLES);
    if (!Files.isDirectory(samples)) {
      return Optional.empty();
    }
    try (Stream<Path> sheets = Files.list(samples)) {
      return sheets
          .filter(sheet -> sheet.getFileName().toString().matches("step-\\d+\\.png"))
          .max(Comparator.comparing(sheet -> sheet.getFileName().toString()));
    } catch (IOException failure) {
      throw new RunException(run, "cannot be listed: " + AtomicFile.reason(failure));
    }
  }

  private static Png firstRow(Png sheet) {
    int rows = RunPictures.COUNT / RunPictures.SHEET.columns();
    int height = (sheet.height() - RunPictures.SHEET.padding()) / rows;
    int bytes = height * sheet.width() * sheet.channels();
    return new Png(sheet.width(), height, sheet.channels(), Arrays.copyOf(sheet.pixels(), bytes));
  }
}
