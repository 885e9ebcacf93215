package io.retort.bindings.cpu;

import java.lang.invoke.MethodHandle;

/// The operations of `retort/softmax.h`; addresses are raw, the header says what they hold.
public final class SoftmaxLibrary {
  private static final MethodHandle FORWARD = NativeLibrary.bind("rt_softmax_forward", "pplli");
  private static final MethodHandle BACKWARD = NativeLibrary.bind("rt_softmax_backward", "ppplli");
  private static final MethodHandle CROSS_ENTROPY_FORWARD =
      NativeLibrary.bind("rt_cross_entropy_forward", "pppplli");
  private static final MethodHandle CROSS_ENTROPY_BACKWARD =
      NativeLibrary.bind("rt_cross_entropy_backward", "pppplli");

  private SoftmaxLibrary() {}

  public static void forward(long x, long y, long rows, long classes, int dtype) {
    int status;
    try {
      status = (int) FORWARD.invokeExact(x, y, rows, classes, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_softmax_forward");
  }

  public static void backward(long y, long dy, long dx, long rows, long classes, int dtype) {
    int status;
    try {
      status = (int) BACKWARD.invokeExact(y, dy, dx, rows, classes, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_softmax_backward");
  }

  /// @throws io.retort.bindings.NativeCallException if a label is not in `[0, classes)`
  public static void crossEntropyForward(
      long x, long labels, long loss, long probabilities, long rows, long classes, int dtype) {
    int status;
    try {
      status =
          (int)
              CROSS_ENTROPY_FORWARD.invokeExact(
                  x, labels, loss, probabilities, rows, classes, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_cross_entropy_forward");
  }

  public static void crossEntropyBackward(
      long probabilities, long labels, long gradient, long dx, long rows, long classes, int dtype) {
    int status;
    try {
      status =
          (int)
              CROSS_ENTROPY_BACKWARD.invokeExact(
                  probabilities, labels, gradient, dx, rows, classes, dtype);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_cross_entropy_backward");
  }
}
