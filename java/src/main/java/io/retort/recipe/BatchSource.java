package io.retort.recipe;

import io.retort.data.Batch;
import io.retort.data.BatchSampler;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/// The batch of every step: real images, with samples of the teacher where the method learns from
/// them. Owns the file of those.
public final class BatchSource implements LongFunction<Batch>, AutoCloseable {
  private final BatchSampler images;
  private final @Nullable TeacherPairs pairs;

  BatchSource(BatchSampler images, @Nullable TeacherPairs pairs) {
    this.images = images;
    this.pairs = pairs;
  }

  @Override
  public Batch apply(long step) {
    Batch batch = images.batch(step);
    return pairs == null ? batch : pairs.with(batch, step);
  }

  @Override
  public void close() {
    if (pairs != null) {
      pairs.close();
    }
  }
}
