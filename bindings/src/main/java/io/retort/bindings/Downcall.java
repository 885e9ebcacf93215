package io.retort.bindings;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/// Calls from Java into a native function that returns an `int` status.
///
/// A signature has one letter per argument: `p` pointer as `long`, `l` long, `i` int, `f` float,
/// `d` double. Handles belong into `static final` fields and are called with `invokeExact`; only
/// that call stands inside the `try`.
public final class Downcall {
  private static final Linker LINKER = Linker.nativeLinker();

  private Downcall() {}

  /// A handle on the function at `symbol`.
  public static MethodHandle bind(MemorySegment symbol, String signature) {
    var arguments = signature.chars().mapToObj(Downcall::layout).toArray(MemoryLayout[]::new);
    return LINKER.downcallHandle(symbol, FunctionDescriptor.of(ValueLayout.JAVA_INT, arguments));
  }

  /// What the `catch` around `invokeExact` throws: nothing but a bug of ours gets there.
  public static AssertionError unreachable(Throwable thrown) {
    return new AssertionError("a native call cannot throw", thrown);
  }

  private static MemoryLayout layout(int letter) {
    return switch (letter) {
      case 'p', 'l' -> ValueLayout.JAVA_LONG;
      case 'i' -> ValueLayout.JAVA_INT;
      case 'f' -> ValueLayout.JAVA_FLOAT;
      case 'd' -> ValueLayout.JAVA_DOUBLE;
      default ->
          throw new NativeLinkError("signature letters are p, l, i, f and d, got " + (char) letter);
    };
  }
}
