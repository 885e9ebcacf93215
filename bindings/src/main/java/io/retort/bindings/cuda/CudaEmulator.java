package io.retort.bindings.cuda;

import io.retort.bindings.Downcall;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/// What the emulator can do that a driver cannot: run threads in another order, count what was not
/// freed, and say what a kernel did wrong.
public final class CudaEmulator {
  private static final long REPORT_BYTES = 1 << 16;

  private final MethodHandle seed;
  private final MethodHandle live;
  private final MethodHandle report;

  CudaEmulator(CudaLibrary library) {
    var linker = Linker.nativeLinker();
    seed =
        linker.downcallHandle(
            library.symbol("rt_emulator_seed"), FunctionDescriptor.ofVoid(ValueLayout.JAVA_LONG));
    live =
        linker.downcallHandle(
            library.symbol("rt_emulator_live_allocations"),
            FunctionDescriptor.of(ValueLayout.JAVA_LONG));
    report =
        linker.downcallHandle(
            library.symbol("rt_emulator_report"), FunctionDescriptor.of(ValueLayout.ADDRESS));
  }

  /// Shuffles the threads of every launch from now on; 0 is their natural order.
  public void seed(long value) {
    try {
      seed.invokeExact(value);
    } catch (Throwable e) {
      throw Downcall.unreachable(e);
    }
  }

  /// Device and pinned blocks that were allocated and not yet freed.
  public long liveAllocations() {
    try {
      return (long) live.invokeExact();
    } catch (Throwable e) {
      throw Downcall.unreachable(e);
    }
  }

  /// The last thing a kernel or its caller did wrong, in a sentence; empty if nothing.
  public String report() {
    MemorySegment text;
    try {
      text = (MemorySegment) report.invokeExact();
    } catch (Throwable e) {
      throw Downcall.unreachable(e);
    }
    return text.reinterpret(REPORT_BYTES).getString(0);
  }
}
