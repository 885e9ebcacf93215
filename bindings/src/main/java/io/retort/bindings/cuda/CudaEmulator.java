package io.retort.bindings.cuda;

import io.retort.bindings.Downcall;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Locale;

/// What the emulator can do that a driver cannot: run threads in another order, be short of memory,
/// count what happened. What a kernel did wrong it says on stderr.
public final class CudaEmulator {
  static final String SET = "rt_emulator_set";

  private final MethodHandle set;
  private final MethodHandle count;

  CudaEmulator(CudaLibrary library) {
    set = library.bind(SET, "pp");
    count =
        Linker.nativeLinker()
            .downcallHandle(
                library.symbol("rt_emulator_count"),
                FunctionDescriptor.of(ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG));
  }

  /// What can be counted.
  public enum Count {
    /// Device and pinned blocks that are not freed.
    ALLOCATIONS,
    /// Their bytes.
    BYTES,
    /// Kernels that have run.
    LAUNCHES,
    /// Blocks that outlived their context.
    LEAKS
  }

  /// Shuffles the threads and blocks of every launch from now on; 0 is their natural order.
  public void seed(long value) {
    set("seed", Long.toUnsignedString(value));
  }

  /// Changes a setting: `seed`, `memory`, `work`, `driver`, `devices` or `images`, with a value as
  /// the environment variable `RETORT_EMULATOR_` of that name takes it.
  public void set(String name, String value) {
    int status;
    try (var arena = Arena.ofConfined()) {
      long key = arena.allocateFrom(name).address();
      long text = arena.allocateFrom(value).address();
      try {
        status = (int) set.invokeExact(key, text);
      } catch (Throwable e) {
        throw Downcall.unreachable(e);
      }
    }
    if (status != 0) {
      throw new IllegalArgumentException(
          "emulator: %s cannot be set to '%s'".formatted(name, value));
    }
  }

  public long count(Count what) {
    try (var arena = Arena.ofConfined()) {
      long name = arena.allocateFrom(what.name().toLowerCase(Locale.ROOT)).address();
      try {
        return (long) count.invokeExact(name);
      } catch (Throwable e) {
        throw Downcall.unreachable(e);
      }
    }
  }
}
