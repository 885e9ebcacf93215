package io.retort.data;

/// A named set of labelled images with a train and a held-out test split.
///
/// An open extension point: a set of your own needs a card and two `Images`. [Datasets] knows the
/// sets that ship with Retort. The splits load on first use and may then be kept.
public interface Dataset {
  DataCard card();

  /// Images to learn from.
  ///
  /// @throws DataException if the files are missing or damaged
  Images train();

  /// The images of [#train], decoded no earlier than each is asked for where the set is large.
  ///
  /// @throws DataException if the files are missing or damaged
  default ImageSource trainingSource() {
    return train();
  }

  /// Images that no network may learn from; the floor of every metric is measured on them.
  ///
  /// @throws DataException if the files are missing or damaged
  Images test();

  /// Whether the images are on this machine; if not, `retort data fetch NAME` brings them.
  default boolean available() {
    return true;
  }

  default String name() {
    return card().name();
  }
}
