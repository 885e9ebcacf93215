package io.retort.data;

import java.util.function.BooleanSupplier;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/// A data set whose splits are loaded at first use, once, and kept.
final class LazyDataset implements Dataset {
  private final DataCard card;
  private final BooleanSupplier available;
  private final Split train;
  private final Split test;

  LazyDataset(
      DataCard card, BooleanSupplier available, Supplier<Images> train, Supplier<Images> test) {
    this.card = card;
    this.available = available;
    this.train = new Split(train);
    this.test = new Split(test);
  }

  @Override
  public DataCard card() {
    return card;
  }

  @Override
  public boolean available() {
    return available.getAsBoolean();
  }

  @Override
  public Images train() {
    return train.images();
  }

  @Override
  public Images test() {
    return test.images();
  }

  private static final class Split {
    private final Supplier<Images> source;
    private @Nullable Images loaded;

    Split(Supplier<Images> source) {
      this.source = source;
    }

    synchronized Images images() {
      Images images = loaded;
      if (images == null) {
        images = source.get();
        loaded = images;
      }
      return images;
    }
  }
}
