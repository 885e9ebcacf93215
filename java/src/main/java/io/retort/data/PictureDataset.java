package io.retort.data;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;

/// A set of PNG or JPEG pictures: EDM's zip or folder, or a folder with one sub-folder a class.
///
/// The names, the labels and the header of every picture are read when it is opened, the pixels
/// when they are wanted. Folders `train` and `test` (or `val`) at the top are the two splits; a set
/// without them holds every tenth picture out.
final class PictureDataset implements Dataset {
  private static final String TRAIN = "train/";
  private static final List<String> HELD_OUT = List.of("test/", "val/", "valid/", "validation/");
  private static final int ONE_IN = 10;
  private static final int PNG_HEAD = 64;

  private final DataCard card;
  private final PictureImages training;
  private final Dataset loaded;

  private PictureDataset(DataCard card, PictureImages training, PictureImages heldOut) {
    this.card = card;
    this.training = training;
    loaded = new LazyDataset(card, () -> true, training::images, heldOut::images);
  }

  /// Opens a zip or a folder.
  ///
  /// @throws DataException if there are no pictures, or they differ in size
  static PictureDataset open(Path path) {
    PictureStore store = PictureStore.open(path);
    List<String> names = store.pictures();
    if (names.size() < 2) {
      throw new DataException(
          path.toString(), "must hold .png or .jpg pictures, at least two, got " + names.size());
    }
    List<String> test = names.stream().filter(name -> startsWithAny(name, HELD_OUT)).toList();
    List<String> train = names.stream().filter(name -> name.startsWith(TRAIN)).toList();
    boolean split = !test.isEmpty() && train.size() + test.size() == names.size();
    PictureHeader form = form(store, names);
    return split ? split(path, store, form, train, test) : whole(path, store, form, names);
  }

  private static boolean startsWithAny(String name, List<String> folders) {
    return folders.stream().anyMatch(name::startsWith);
  }

  private static PictureDataset split(
      Path path, PictureStore store, PictureHeader form, List<String> train, List<String> test) {
    PictureLabels learned = PictureLabels.read(store, train, true);
    PictureLabels held = PictureLabels.read(store, test, true);
    if (!learned.classes().equals(held.classes())) {
      throw new DataException(
          path.toString(),
          "must have the same classes in both splits, got %d and %d"
              .formatted(learned.classes().size(), held.classes().size()));
    }
    return new PictureDataset(
        card(path, form, learned.classes(), train.size(), "%,d held out".formatted(test.size())),
        PictureImages.of(store, train, learned.of(), form),
        PictureImages.of(store, test, held.of(), form));
  }

  private static PictureDataset whole(
      Path path, PictureStore store, PictureHeader form, List<String> names) {
    PictureLabels labels = PictureLabels.read(store, names, false);
    int count = names.size();
    int[] held = IntStream.range(0, count).filter(i -> isHeldOut(i, count)).toArray();
    int[] kept = IntStream.range(0, count).filter(i -> !isHeldOut(i, count)).toArray();
    return new PictureDataset(
        card(
            path,
            form,
            labels.classes(),
            kept.length,
            "every tenth, %,d, held out".formatted(held.length)),
        some(store, names, labels, form, kept),
        some(store, names, labels, form, held));
  }

  private static boolean isHeldOut(int index, int count) {
    return index % ONE_IN == ONE_IN - 1 || (count < ONE_IN && index == count - 1);
  }

  private static PictureImages some(
      PictureStore store,
      List<String> names,
      PictureLabels labels,
      PictureHeader form,
      int[] chosen) {
    return PictureImages.of(
        store,
        Arrays.stream(chosen).mapToObj(names::get).toList(),
        Arrays.stream(chosen).map(i -> labels.of()[i]).toArray(),
        form);
  }

  private static DataCard card(
      Path path, PictureHeader form, List<String> classes, int count, String held) {
    return new DataCard(
        path.toString(),
        "of your own",
        "%,d pictures to learn from, %s".formatted(count, held),
        "none",
        form.height(),
        form.width(),
        form.channels(),
        classes,
        false);
  }

  /// The size that all pictures share, and colour if one of them has it.
  private static PictureHeader form(PictureStore store, List<String> names) {
    PictureHeader[] headers =
        names.parallelStream().map(name -> header(store, name)).toArray(PictureHeader[]::new);
    PictureHeader first = headers[0];
    int channels = 1;
    for (int i = 0; i < headers.length; i++) {
      if (headers[i].height() != first.height() || headers[i].width() != first.width()) {
        throw new DataException(
            store.where(names.get(i)),
            "must be %dx%d as the first picture is, got %dx%d; bring all to one size first"
                .formatted(first.height(), first.width(), headers[i].height(), headers[i].width()));
      }
      channels = Math.max(channels, headers[i].channels());
    }
    return new PictureHeader(first.kind(), first.width(), first.height(), channels, true);
  }

  private static PictureHeader header(PictureStore store, String name) {
    boolean png = name.toLowerCase(Locale.ROOT).endsWith(".png");
    return PictureHeader.read(
        store.where(name), count -> store.head(name, png ? PNG_HEAD : count), store.size(name));
  }

  @Override
  public DataCard card() {
    return card;
  }

  @Override
  public ImageSource trainingSource() {
    return training;
  }

  @Override
  public Images train() {
    return loaded.train();
  }

  @Override
  public Images test() {
    return loaded.test();
  }
}
