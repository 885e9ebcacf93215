package io.retort.recipe;

import io.retort.checkpoint.AtomicFile;
import io.retort.checkpoint.CheckpointException;
import io.retort.checkpoint.ModelFile;
import io.retort.data.Datasets;
import io.retort.distill.Methods;
import io.retort.metrics.LeNetFeatures;
import io.retort.op.Backend;
import io.retort.tensor.Memory;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// What travels inside the jar beside the data: recipes, and for some data sets a teacher and a
/// metric net.
public final class BuiltIn {
  private static final String ROOT = "/io/retort/";
  private static final String DEFAULT = "fashion-mnist-dmd2-el";
  private static final String WHAT = "what";
  private static final Pattern NOTE = Pattern.compile("# (paper|differs|expected|wall time) +(.+)");
  private static final List<String> RECIPES =
      Stream.concat(
              Stream.of(DEFAULT), Methods.ALL.stream().flatMap(kind -> kind.recipes().stream()))
          .distinct()
          .toList();

  private BuiltIn() {}

  /// Names of the recipes inside the jar, the default of `retort distill` first.
  public static List<String> recipes() {
    return RECIPES;
  }

  /// The text of a recipe of [#recipes].
  public static String recipe(String name) {
    String path = ROOT + "recipe/builtin/" + name + ".yaml";
    try (InputStream in = BuiltIn.class.getResourceAsStream(path)) {
      if (!RECIPES.contains(name) || in == null) {
        throw new RecipeException(
            name, "", "is not inside Retort; these are: " + String.join(", ", RECIPES));
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException failure) {
      throw new RecipeException(name, "", "cannot be read: " + AtomicFile.reason(failure));
    }
  }

  /// What the head of a recipe of [#recipes] says: `what` it is, its `paper`, what `differs`, the
  /// `expected` result and its `wall time`.
  public static SequencedMap<String, String> notes(String name) {
    SequencedMap<String, String> notes = new LinkedHashMap<>();
    String key = WHAT;
    for (String line : recipe(name).lines().takeWhile(each -> each.startsWith("#")).toList()) {
      Matcher matcher = NOTE.matcher(line);
      String text = line.substring(1).strip();
      if (matcher.matches()) {
        key = matcher.group(1);
        text = matcher.group(2);
      } else if (!line.startsWith("#  ")) {
        key = WHAT;
      }
      if (!text.isEmpty()) {
        notes.merge(key, text, (before, more) -> before + " " + more);
      }
    }
    return notes;
  }

  /// The trained teacher of a data set, if one is inside the jar; closed by the caller.
  public static Optional<ModelFile> teacher(String data, Memory memory) {
    String folder = ROOT + "recipe/teacher-" + data + "/";
    return unpacked(
        List.of(folder + ModelFile.WEIGHTS, folder + ModelFile.CONFIG),
        files -> ModelFile.load(files, memory));
  }

  /// The trained metric net of a data set: from the jar, else from where [#metricNetFolder] says;
  /// closed by the caller.
  public static Optional<LeNetFeatures> metricNet(String data, Backend backend) {
    String file = metricNetFile(data);
    String name = file.substring(0, file.lastIndexOf('.'));
    Path own = metricNetFolder(data).resolve(file);
    return unpacked(
            List.of(ROOT + "metrics/" + file),
            files -> LeNetFeatures.load(backend, files.resolve(file), name))
        .or(() ->
            Files.exists(own)
                ? Optional.of(LeNetFeatures.load(backend, own, name))
                : Optional.empty());
  }

  /// Whether [#metricNet] would find one.
  public static boolean hasMetricNet(String data) {
    String file = metricNetFile(data);
    return BuiltIn.class.getResource(ROOT + "metrics/" + file) != null
        || Files.exists(metricNetFolder(data).resolve(file));
  }

  /// The file a metric-net run leaves in its folder.
  public static String metricNetFile(String data) {
    return "lenet-" + plain(data) + ".safetensors";
  }

  /// The run directory in which a metric net of one's own is looked for.
  public static Path metricNetFolder(String data) {
    return Datasets.directory().resolve("metric-net-" + plain(data));
  }

  /// The name of a set as a part of a file name: sets of one's own are called by their path.
  private static String plain(String data) {
    return data.replaceAll("[^A-Za-z0-9._-]+", "_");
  }

  /// Gives `use` a private folder with copies of resources for as long as it runs; empty if one is
  /// not in the jar.
  private static <T> Optional<T> unpacked(List<String> resources, Function<Path, T> use) {
    try {
      Path folder = Files.createTempDirectory("retort-");
      try {
        for (String resource : resources) {
          try (InputStream in = BuiltIn.class.getResourceAsStream(resource)) {
            if (in == null) {
              return Optional.empty();
            }
            Files.copy(in, folder.resolve(fileName(resource)));
          }
        }
        return Optional.of(use.apply(folder));
      } finally {
        for (String resource : resources) {
          Files.deleteIfExists(folder.resolve(fileName(resource)));
        }
        Files.delete(folder);
      }
    } catch (IOException failure) {
      throw new CheckpointException(Path.of(resources.getFirst()), "", failure);
    }
  }

  private static String fileName(String resource) {
    return resource.substring(resource.lastIndexOf('/') + 1);
  }
}
