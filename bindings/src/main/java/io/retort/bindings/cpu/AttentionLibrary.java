package io.retort.bindings.cpu;

import java.lang.invoke.MethodHandle;

/// The operations of `retort/attention.h`; addresses are raw, the header says what they hold.
public final class AttentionLibrary {
  private static final MethodHandle FORWARD =
      NativeLibrary.bind("rt_attention_forward", "pppppllllllli");
  private static final MethodHandle BACKWARD =
      NativeLibrary.bind("rt_attention_backward", "pppppppppllllllli");

  private AttentionLibrary() {}

  /// Extents and strides of one call, as the header names them.
  public record Layout(
      long n, long heads, long tq, long tk, long d, long qRow, long kvRow, int dtype) {}

  public static void forward(long q, long k, long v, long out, long lse, Layout s) {
    int status;
    try {
      status =
          (int)
              FORWARD.invokeExact(
                  q, k, v, out, lse, s.n, s.heads, s.tq, s.tk, s.d, s.qRow, s.kvRow, s.dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_attention_forward");
  }

  /// `dq`, `dk` and `dv` may each be 0 if not wanted.
  public static void backward(
      long q, long k, long v, long out, long lse, long dout, long dq, long dk, long dv, Layout s) {
    int status;
    try {
      status =
          (int)
              BACKWARD.invokeExact(
                  q, k, v, out, lse, dout, dq, dk, dv, s.n, s.heads, s.tq, s.tk, s.d, s.qRow,
                  s.kvRow, s.dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_attention_backward");
  }
}
