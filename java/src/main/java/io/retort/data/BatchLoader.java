package io.retort.data;

import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.function.LongFunction;

/// Makes batches ahead of time on one background thread, in step order, a bounded number of them.
///
/// Prefetching changes when a batch is made, never what is in it. [#next] is for one thread; a
/// failure on the background thread surfaces there, in its place in the order, and again on every
/// later call.
public final class BatchLoader implements AutoCloseable {
  private static final int DEFAULT_DEPTH = 3;

  private final LongFunction<Batch> source;
  private final BlockingQueue<Item> queue;
  private final Thread worker;
  private long nextStep;

  /// What the worker hands over.
  private sealed interface Item {
    record Ready(Batch batch) implements Item {}

    record Failed(RuntimeException failure) implements Item {}
  }

  /// Starts prefetching `source` at `firstStep`, three batches ahead.
  public BatchLoader(LongFunction<Batch> source, long firstStep) {
    this(source, firstStep, DEFAULT_DEPTH);
  }

  /// Starts prefetching.
  ///
  /// @param source the batch of a step, usually `sampler::batch`
  /// @param firstStep the step whose batch comes first: 0, or the step a resumed run continues at
  /// @param depth how many finished batches may wait
  public BatchLoader(LongFunction<Batch> source, long firstStep, int depth) {
    this.source = source;
    this.queue = new ArrayBlockingQueue<>(depth);
    this.nextStep = firstStep;
    this.worker = Thread.ofPlatform().daemon().name("retort-data").start(() -> produce(firstStep));
  }

  private void produce(long firstStep) {
    try {
      Item item;
      long step = firstStep;
      do {
        item = make(step++);
        queue.put(item);
      } while (item instanceof Item.Ready);
    } catch (InterruptedException closing) {
      Thread.currentThread().interrupt();
    }
  }

  private Item make(long step) {
    try {
      return new Item.Ready(source.apply(step));
    } catch (DataException failure) {
      return new Item.Failed(failure);
    } catch (RuntimeException | Error failure) {
      return new Item.Failed(
          new DataException("batch of step " + step, "cannot be made: " + failure, failure));
    }
  }

  /// The step whose batch [#next] returns next.
  public long step() {
    return nextStep;
  }

  /// The next batch, waiting for it if it is not ready.
  ///
  /// @throws DataException if making it failed
  /// @throws IllegalStateException after [#close]
  public Batch next() {
    Item item;
    try {
      item = queue.take();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new DataException("batch of step " + nextStep, "was not waited for: interrupted", e);
    }
    return switch (item) {
      case Item.Ready(Batch batch) -> {
        nextStep++;
        yield batch;
      }
      case Item.Failed(RuntimeException failure) -> {
        queue.offer(item);
        throw failure;
      }
    };
  }

  /// Stops the background thread and waits for its end; calling it twice is harmless.
  @Override
  public void close() {
    worker.interrupt();
    boolean interrupted = false;
    while (worker.isAlive()) {
      try {
        worker.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    queue.clear();
    queue.offer(new Item.Failed(new IllegalStateException("batch loader: is closed")));
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
