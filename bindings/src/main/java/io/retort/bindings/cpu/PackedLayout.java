package io.retort.bindings.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// How a kernel has its weights laid out, once for many calls.
///
/// @param number tells the layout from others; 0 where the kernel reads weights as they are
/// @param bytes of a block that holds weights laid out like this
public record PackedLayout(long number, long bytes) {

  /// An operation that writes the two numbers to an address.
  interface Query {
    int call(long layout) throws Throwable;
  }

  /// What the operation of that name says.
  static PackedLayout of(String operation, Query query) {
    try (var arena = Arena.ofConfined()) {
      MemorySegment layout = arena.allocate(ValueLayout.JAVA_LONG, 2);
      int status;
      try {
        status = query.call(layout.address());
      } catch (Throwable e) {
        throw NativeLibrary.unreachable(e);
      }
      NativeLibrary.check(status, operation);
      return new PackedLayout(
          layout.getAtIndex(ValueLayout.JAVA_LONG, 0), layout.getAtIndex(ValueLayout.JAVA_LONG, 1));
    }
  }
}
