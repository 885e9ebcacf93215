package io.retort.backend;

import io.retort.bindings.cuda.CudaDriver;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// What kernels say of wrong values in device memory, such as a label that is none.
///
/// A kernel writes its report (`common/fault.cuh`) straight into pinned memory of the host; good
/// values cost neither a copy nor a wait. The host looks whenever it has waited for the stream, so
/// the exception comes with the next read; with `RETORT_SYNC=1`, with the launch.
final class CudaFaults implements AutoCloseable {
  private static final long BYTES = 32;
  private static final long PLACE = 8;
  private static final long VALUE = 16;
  private static final long LIMIT = 24;

  /// What can be wrong; the order is that of `rt_fault_kind`, from 1 on.
  private enum Kind {
    LABEL("cross_entropy: labels must be in [0, %d), got %d in row %d"),
    ID("lookup: id must be in [0, %d), got %d at place %d");

    private final String sentence;

    Kind(String sentence) {
      this.sentence = sentence;
    }
  }

  private final CudaDriver driver;
  private final MemorySegment report;

  CudaFaults(CudaDriver driver) {
    this.driver = driver;
    report = driver.memHostAlloc(BYTES);
    report.fill((byte) 0);
  }

  /// Where kernels write, for the device and the host alike.
  long address() {
    return report.address();
  }

  /// Throws what was reported and forgets it; the stream is idle.
  ///
  /// @throws IllegalArgumentException naming the value, its place and what it must be
  void check() {
    int kind = report.get(ValueLayout.JAVA_INT, 0);
    if (kind == 0) {
      return;
    }
    String sentence =
        Kind.values()[kind - 1].sentence.formatted(
            report.get(ValueLayout.JAVA_LONG, LIMIT),
            report.get(ValueLayout.JAVA_LONG, VALUE),
            report.get(ValueLayout.JAVA_LONG, PLACE));
    report.fill((byte) 0);
    throw new IllegalArgumentException(sentence);
  }

  @Override
  public void close() {
    driver.memFreeHost(report);
  }
}
