package io.retort.backend;

import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaException;

/// Time between two points of the device's queue, by the device's own clock.
///
/// Neither end waits for anything; only the question how long it took does. Starts again as often
/// as is wanted.
public final class CudaTimer implements AutoCloseable {
  private final CudaContext context;
  private final CudaDriver driver;
  private final long begun;
  private final long ended;

  CudaTimer(CudaContext context) {
    this.context = context;
    driver = context.driver();
    context.enter();
    begun = driver.eventCreate(true);
    ended = driver.eventCreate(true);
  }

  /// Starts when everything queued so far is done.
  public void start() {
    context.enter();
    context.queue().flush();
    driver.eventRecord(begun, context.stream());
  }

  /// Stops when everything queued so far is done.
  public void stop() {
    context.enter();
    context.queue().flush();
    driver.eventRecord(ended, context.stream());
  }

  /// Waits for the end.
  ///
  /// @throws CudaException if what was timed failed
  public double microseconds() {
    context.enter();
    try {
      driver.eventSynchronize(ended);
      return 1e3 * driver.eventElapsedTime(begun, ended);
    } catch (CudaException e) {
      throw context.explained(e);
    }
  }

  @Override
  public void close() {
    context.enter();
    driver.eventDestroy(begun);
    driver.eventDestroy(ended);
  }
}
