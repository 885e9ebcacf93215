package io.retort.bench.ops;

import io.retort.backend.CudaBackend;
import io.retort.backend.CudaTimer;
import io.retort.op.Backend;

/// Time between two points of a backend's work.
sealed interface Stopwatch extends AutoCloseable {

  static Stopwatch of(Backend backend) {
    return backend instanceof CudaBackend cuda ? new Device(cuda.timer()) : new Host();
  }

  void start();

  void stop();

  /// Asked once all is queued: it may have to wait.
  double microseconds();

  @Override
  void close();

  /// By the device's clock, in the order of its queue.
  record Device(CudaTimer timer) implements Stopwatch {
    @Override
    public void start() {
      timer.start();
    }

    @Override
    public void stop() {
      timer.stop();
    }

    @Override
    public double microseconds() {
      return timer.microseconds();
    }

    @Override
    public void close() {
      timer.close();
    }
  }

  /// Where a call returns when its work is done.
  final class Host implements Stopwatch {
    private long started;
    private long stopped;

    @Override
    public void start() {
      started = System.nanoTime();
    }

    @Override
    public void stop() {
      stopped = System.nanoTime();
    }

    @Override
    public double microseconds() {
      return (stopped - started) / 1e3;
    }

    @Override
    public void close() {}
  }
}
