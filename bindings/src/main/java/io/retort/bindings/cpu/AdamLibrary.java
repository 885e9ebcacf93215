package io.retort.bindings.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/// The operations of `retort/adam.h`; addresses are raw, the header says what they hold.
public final class AdamLibrary {
  private static final MethodHandle STEP = NativeLibrary.bind("rt_adam_step", "ppppplldddddddp");

  private AdamLibrary() {}

  /// One step; returns the gradient norm before clipping. `ema` may be 0.
  public static double step(
      long value,
      long gradient,
      long m,
      long v,
      long ema,
      long n,
      long step,
      double lr,
      double beta1,
      double beta2,
      double eps,
      double decay,
      double clip,
      double emaDecay) {
    try (Arena arena = Arena.ofConfined()) {
      var norm = arena.allocate(ValueLayout.JAVA_DOUBLE);
      int status;
      try {
        status =
            (int)
                STEP.invokeExact(
                    value,
                    gradient,
                    m,
                    v,
                    ema,
                    n,
                    step,
                    lr,
                    beta1,
                    beta2,
                    eps,
                    decay,
                    clip,
                    emaDecay,
                    norm.address());
      } catch (Throwable e) {
        throw NativeLibrary.unreachable(e);
      }
      NativeLibrary.check(status, "rt_adam_step");
      return norm.get(ValueLayout.JAVA_DOUBLE, 0);
    }
  }
}
