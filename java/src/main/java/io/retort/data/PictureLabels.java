package io.retort.data;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import java.util.stream.IntStream;

/// The class of every picture of a set: from EDM's `dataset.json`, else from the folders.
///
/// `dataset.json` is `{"labels": [["00000/img00000000.png", 6], ..]}`, or null for no classes.
/// Without it, the sorted names of the first folders are the classes, if there are several.
///
/// @param classes names of the classes, one for a set without labels
/// @param of class of each picture
record PictureLabels(List<String> classes, int[] of) {
  static final String FILE = "dataset.json";
  private static final int MOST_BYTES = 256 << 20;
  private static final int MOST_CLASSES = 1 << 16;
  private static final List<String> UNLABELLED = List.of("all");

  /// Labels of `names`.
  ///
  /// @param split whether the first folder of each is that of its split, and no class
  static PictureLabels read(PictureStore store, List<String> names, boolean split) {
    Optional<byte[]> json = store.find(FILE, MOST_BYTES);
    if (json.isPresent()) {
      return listed(store, names, json.get());
    }
    List<String> folders =
        new ArrayList<>(new TreeSet<>(names.stream().map(n -> folder(n, split)).toList()));
    if (folders.size() < 2) {
      return new PictureLabels(UNLABELLED, new int[names.size()]);
    }
    if (folders.size() > MOST_CLASSES) {
      throw new DataException(store.where(""), "has more than %d folders".formatted(MOST_CLASSES));
    }
    Map<String, Integer> index = new HashMap<>();
    folders.forEach(folder -> index.put(folder, index.size()));
    return new PictureLabels(
        folders, names.stream().mapToInt(name -> index.get(folder(name, split))).toArray());
  }

  private static String folder(String name, boolean split) {
    int begin = split ? name.indexOf('/') + 1 : 0;
    int slash = name.indexOf('/', begin);
    return slash < 0 ? "." : name.substring(begin, slash);
  }

  private static PictureLabels listed(PictureStore store, List<String> names, byte[] json) {
    String file = store.where(FILE);
    try {
      Map<String, Integer> byName = parse(file, json);
      if (byName.isEmpty()) {
        return new PictureLabels(UNLABELLED, new int[names.size()]);
      }
      var labels = new int[names.size()];
      int last = 0;
      for (int i = 0; i < labels.length; i++) {
        Integer label = byName.get(names.get(i));
        if (label == null) {
          throw new DataException(file, "has no label for " + names.get(i));
        }
        labels[i] = label;
        last = Math.max(last, label);
      }
      return new PictureLabels(
          IntStream.rangeClosed(0, last).mapToObj(Integer::toString).toList(), labels);
    } catch (Json.JsonException malformed) {
      throw new DataException(file, "is malformed, " + malformed.getMessage(), malformed);
    }
  }

  /// Read as a stream: a million images make a document too large for a tree.
  private static Map<String, Integer> parse(String file, byte[] json) {
    Map<String, Integer> labels = new HashMap<>();
    JsonReader reader = new JsonReader(json, 8, 1 << 10);
    reader.beginObject();
    while (reader.hasNext()) {
      if (!reader.name().equals("labels")) {
        reader.skip();
      } else if (reader.peek() == JsonReader.Kind.NULL) {
        reader.nil();
      } else {
        readPairs(file, reader, labels);
      }
    }
    reader.endObject();
    reader.end();
    return labels;
  }

  private static void readPairs(String file, JsonReader reader, Map<String, Integer> labels) {
    reader.beginArray();
    while (reader.hasNext()) {
      reader.beginArray();
      String name = reader.hasNext() ? reader.string() : "";
      if (!reader.hasNext() || reader.peek() != JsonReader.Kind.NUMBER) {
        throw new DataException(
            file, "must give a class number to each picture; vectors are not read");
      }
      long label = reader.integer();
      if (label < 0 || label >= MOST_CLASSES) {
        throw new DataException(
            file, "label %d must be from 0 to %d".formatted(label, MOST_CLASSES - 1));
      }
      if (reader.hasNext() || labels.put(name, (int) label) != null) {
        throw new DataException(file, "must list each picture once, with one class");
      }
      reader.endArray();
    }
    reader.endArray();
  }
}
