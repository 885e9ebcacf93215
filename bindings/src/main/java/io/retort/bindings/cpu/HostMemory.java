package io.retort.bindings.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/// Raw blocks of host memory, and the copies between them and Java arrays.
///
/// Addresses are trusted: a wrong one ends the process. The pool above keeps count of what is
/// handed out.
public final class HostMemory {
  private static final MethodHandle ALLOCATE = NativeLibrary.bind("rt_memory_allocate", "lp");
  private static final MethodHandle FREE = NativeLibrary.bind("rt_memory_free", "pl");
  private static final MethodHandle FILL = NativeLibrary.bind("rt_memory_fill", "pil");
  private static final MethodHandle COPY = NativeLibrary.bind("rt_memory_copy", "ppl");
  private static final MethodHandle HOLDS = NativeLibrary.bind("rt_memory_holds", "pilp");
  private static final MethodHandle PHYSICAL = NativeLibrary.bind("rt_memory_physical", "p");

  private static final int OUT_OF_MEMORY = 3;

  /// The whole address space; offsets are addresses.
  private static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

  private HostMemory() {}

  /// A new block of undefined contents, or 0 if the system has none that large.
  public static long allocate(long bytes) {
    try (var arena = Arena.ofConfined()) {
      var block = arena.allocate(ValueLayout.JAVA_LONG);
      int status;
      try {
        status = (int) ALLOCATE.invokeExact(bytes, block.address());
      } catch (Throwable e) {
        throw NativeLibrary.unreachable(e);
      }
      if (status == OUT_OF_MEMORY) {
        return 0;
      }
      NativeLibrary.check(status, "rt_memory_allocate");
      return block.get(ValueLayout.JAVA_LONG, 0);
    }
  }

  /// Gives a block back to the system; `bytes` as it was allocated.
  public static void free(long address, long bytes) {
    int status;
    try {
      status = (int) FREE.invokeExact(address, bytes);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_memory_free");
  }

  /// Sets every byte to the low 8 bits of `value`.
  public static void fill(long address, int value, long bytes) {
    int status;
    try {
      status = (int) FILL.invokeExact(address, value, bytes);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_memory_fill");
  }

  /// Copies `bytes` bytes between ranges that do not overlap.
  public static void copy(long from, long to, long bytes) {
    int status;
    try {
      status = (int) COPY.invokeExact(from, to, bytes);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_memory_copy");
  }

  /// Whether every byte equals the low 8 bits of `value`.
  public static boolean holds(long address, int value, long bytes) {
    try (var arena = Arena.ofConfined()) {
      var answer = arena.allocate(ValueLayout.JAVA_INT);
      int status;
      try {
        status = (int) HOLDS.invokeExact(address, value, bytes, answer.address());
      } catch (Throwable e) {
        throw NativeLibrary.unreachable(e);
      }
      NativeLibrary.check(status, "rt_memory_holds");
      return answer.get(ValueLayout.JAVA_INT, 0) != 0;
    }
  }

  /// Bytes of memory this process may use: the machine's, or its control group's limit if lower.
  public static long physicalBytes() {
    try (var arena = Arena.ofConfined()) {
      var bytes = arena.allocate(ValueLayout.JAVA_LONG);
      int status;
      try {
        status = (int) PHYSICAL.invokeExact(bytes.address());
      } catch (Throwable e) {
        throw NativeLibrary.unreachable(e);
      }
      NativeLibrary.check(status, "rt_memory_physical");
      return bytes.get(ValueLayout.JAVA_LONG, 0);
    }
  }

  /// Copies `count` floats from a Java array.
  public static void write(long address, float[] source, int offset, int count) {
    MemorySegment.copy(source, offset, ALL, ValueLayout.JAVA_FLOAT, address, count);
  }

  /// Copies `count` floats to a Java array.
  public static void read(long address, float[] target, int offset, int count) {
    MemorySegment.copy(ALL, ValueLayout.JAVA_FLOAT, address, target, offset, count);
  }

  /// Copies `count` longs from a Java array.
  public static void write(long address, long[] source, int offset, int count) {
    MemorySegment.copy(source, offset, ALL, ValueLayout.JAVA_LONG, address, count);
  }

  /// Copies `count` longs to a Java array.
  public static void read(long address, long[] target, int offset, int count) {
    MemorySegment.copy(ALL, ValueLayout.JAVA_LONG, address, target, offset, count);
  }

  /// Copies `count` bytes from a Java array.
  public static void write(long address, byte[] source, int offset, int count) {
    MemorySegment.copy(source, offset, ALL, ValueLayout.JAVA_BYTE, address, count);
  }

  /// Copies all bytes of a segment, such as a mapped file.
  public static void write(long address, MemorySegment source) {
    MemorySegment.copy(source, 0, ALL, address, source.byteSize());
  }

  /// Copies `count` bytes to a Java array.
  public static void read(long address, byte[] target, int offset, int count) {
    MemorySegment.copy(ALL, ValueLayout.JAVA_BYTE, address, target, offset, count);
  }
}
