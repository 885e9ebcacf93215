package io.retort.bindings.cpu;

import java.lang.invoke.MethodHandle;

/// The operations of `retort/score_difference.h`; addresses are raw, the header says what they
/// hold.
public final class ScoreDifferenceLibrary {
  private static final MethodHandle ADD_NOISE = NativeLibrary.bind("rt_add_noise", "ppplllil");
  private static final MethodHandle EDM_INPUT = NativeLibrary.bind("rt_edm_input", "ppplld");
  private static final MethodHandle EDM_OUTPUT = NativeLibrary.bind("rt_edm_output", "pppplld");
  private static final MethodHandle EDM_OUTPUT_BACKWARD =
      NativeLibrary.bind("rt_edm_output_backward", "pppplld");
  private static final MethodHandle EDM_LOSS = NativeLibrary.bind("rt_edm_loss", "ppppplldi");
  private static final MethodHandle SCORE_DIFFERENCE =
      NativeLibrary.bind("rt_score_difference", "pppppllid");
  private static final MethodHandle SID = NativeLibrary.bind("rt_sid", "ppppppplldd");

  private ScoreDifferenceLibrary() {}

  /// Seed, tag and step name the stream of `retort/random.h` whose normals are the noise.
  public static void addNoise(
      long x, long sigma, long out, long n, long p, long seed, int tag, long step) {
    int status;
    try {
      status = (int) ADD_NOISE.invokeExact(x, sigma, out, n, p, seed, tag, step);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_add_noise");
  }

  public static void edmInput(long x, long sigma, long out, long n, long p, double sd) {
    int status;
    try {
      status = (int) EDM_INPUT.invokeExact(x, sigma, out, n, p, sd);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_edm_input");
  }

  public static void edmOutput(long x, long f, long sigma, long out, long n, long p, double sd) {
    int status;
    try {
      status = (int) EDM_OUTPUT.invokeExact(x, f, sigma, out, n, p, sd);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_edm_output");
  }

  public static void edmOutputBackward(
      long dout, long sigma, long dx, long df, long n, long p, double sd) {
    int status;
    try {
      status = (int) EDM_OUTPUT_BACKWARD.invokeExact(dout, sigma, dx, df, n, p, sd);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_edm_output_backward");
  }

  public static void edmLoss(
      long d, long y, long sigma, long loss, long gradient, long n, long p, double sd, int mean) {
    int status;
    try {
      status = (int) EDM_LOSS.invokeExact(d, y, sigma, loss, gradient, n, p, sd, mean);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_edm_loss");
  }

  public static void scoreDifference(
      long x, long r, long f, long loss, long gradient, long n, long p, int form, double eps) {
    int status;
    try {
      status = (int) SCORE_DIFFERENCE.invokeExact(x, r, f, loss, gradient, n, p, form, eps);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_score_difference");
  }

  public static void sid(
      long x,
      long r,
      long f,
      long loss,
      long dx,
      long dr,
      long df,
      long n,
      long p,
      double alpha,
      double eps) {
    int status;
    try {
      status = (int) SID.invokeExact(x, r, f, loss, dx, dr, df, n, p, alpha, eps);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
    NativeLibrary.check(status, "rt_sid");
  }
}
