package io.retort.cli;

import io.retort.data.DataCard;
import io.retort.data.DataFetcher;
import io.retort.data.Dataset;
import io.retort.data.Datasets;
import io.retort.data.ImageSource;
import io.retort.data.Images;
import io.retort.data.PngGrid;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `retort data list | fetch NAME | show NAME --out grid.png`: the real images there are.
@Command(
    synopsisHeading =
        "Usage: retort data list%n       retort data fetch NAME%n       retort data show NAME|PATH"
            + " --out GRID.png%n%n",
    customSynopsis = "",
    description = "Data sets: where they come from, their licence and checksum, and how they look.",
    footer = {
      "%nPATH: a zip or folder of PNG or JPEG pictures of one size (EDM's dataset.json, or a"
          + " sub-folder a",
      "class; train/ and test/ if there are), CIFAR-10 or -100 in binary form, or MNIST's four IDX"
          + " files."
    })
@SuppressWarnings("NullAway.Init") // picocli fills required fields before the call
final class DataCommand implements Callable<Integer> {
  private static final int SHOWN_DEFAULT = 100;

  private final Console console;

  @Parameters(index = "0", paramLabel = "list|fetch|show", description = "What to do.")
  private String action;

  @Parameters(
      index = "1",
      arity = "0..1",
      paramLabel = "NAME",
      description = "The data set, as list prints it; show takes a path too.")
  private @Nullable String name;

  @Option(names = "--out", paramLabel = "GRID.png", description = "show: where the picture goes.")
  private @Nullable Path out;

  @Option(
      names = "--count",
      paramLabel = "N",
      description = "show: how many training images (default: 100).")
  private int count = SHOWN_DEFAULT;

  @Mixin private CommonOptions common;

  DataCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    switch (action) {
      case "list" -> list();
      case "fetch" -> fetch(required(name, "a data set's NAME"));
      case "show" -> show(required(name, "a data set's NAME"), required(out, "--out GRID.png"));
      default ->
          throw new UsageException("data: must be list, fetch or show, got '%s'".formatted(action));
    }
    return ExitStatus.SUCCESS;
  }

  private <T> T required(@Nullable T value, String what) {
    if (value == null) {
      throw new UsageException("data %s needs %s".formatted(action, what));
    }
    return value;
  }

  private void list() {
    if (common.json()) {
      console.json(Datasets.list().stream().map(DataCommand::json).toList());
      return;
    }
    var table = new TextTable("name", "here", "images", "licence", "source");
    for (Dataset set : Datasets.list()) {
      DataCard card = set.card();
      table.row(
          set.name(),
          set.available() ? "yes" : "no",
          "%dx%dx%d".formatted(card.height(), card.width(), card.channels()),
          card.licence(),
          card.source());
    }
    var text = new StringBuilder(table.text()).append('\n');
    Datasets.list()
        .forEach(s -> text.append("SHA-256 of %s: %s%n".formatted(s.name(), s.card().checksum())));
    console.print(text + "Fetched sets are kept in " + Datasets.directory());
  }

  private static Map<String, Object> json(Dataset set) {
    DataCard card = set.card();
    var json = new LinkedHashMap<String, Object>();
    json.put("name", set.name());
    json.put("available", set.available());
    json.put("licence", card.licence());
    json.put("source", card.source());
    json.put("sha256", card.checksum());
    json.put("height", card.height());
    json.put("width", card.width());
    json.put("channels", card.channels());
    json.put("classes", card.classes());
    json.put("flip_allowed", card.flipAllowed());
    return json;
  }

  private void fetch(String wanted) {
    Path folder = new DataFetcher().fetch(wanted, Datasets.directory(), console::note);
    if (common.json()) {
      console.json(Map.of("name", wanted, "folder", folder.toString()));
    } else {
      console.print(folder.toString());
    }
  }

  private void show(String wanted, Path grid) {
    Numbers.upTo(Numbers.MOST_PICTURED, "--count", count);
    OutputFile target = OutputFile.of(grid, "png");
    ImageSource all = Datasets.get(wanted).trainingSource();
    Images shown = all.select(IntStream.range(0, Math.min(count, all.count())).toArray());
    target.write(PngGrid.fitting(shown.count(), shown.height()).png(shown));
    if (common.json()) {
      console.json(Map.of("name", wanted, "count", shown.count(), "out", target.path().toString()));
    } else {
      console.print(
          "%s: the first %d of %d training images"
              .formatted(target.path(), shown.count(), all.count()));
    }
  }
}
