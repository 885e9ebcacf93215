package io.retort.nn;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Conv2d;
import io.retort.op.Conv2d.Tail;
import io.retort.tensor.DType;
import io.retort.tensor.Shape;
import java.util.stream.Stream;

/// A convolution with bias: `name.weight` (out, in, k, k), `name.bias` (out); stride and zero
/// padding as given.
public record Conv(
    String name, int in, int out, int kernel, int stride, int padding, Init weight, Init bias) {

  /// Odd kernel, stride 1, size kept, EDM's initial law: Xavier uniform times `scale`, bias 0.
  public static Conv same(String name, int in, int out, int kernel, double scale) {
    return new Conv(
        name, in, out, kernel, 1, kernel / 2, new Init.XavierUniform(scale), new Init.Constant(0));
  }

  /// PyTorch's default initial law.
  public static Conv plain(String name, int in, int out, int kernel, int stride, int padding) {
    Init init = new Init.FanIn(1, (long) in * kernel * kernel);
    return new Conv(name, in, out, kernel, stride, padding, init, init);
  }

  public void declare(Plan plan) {
    plan.add(name + ".weight", Shape.of(out, in, kernel, kernel), weight);
    plan.add(name + ".bias", Shape.of(out), bias);
  }

  /// x `(N, H, W, in)` to `(N, H', W', out)`.
  public Var apply(Tape tape, Parameters parameters, Var x) {
    return apply(tape, parameters, Tail.NONE, x);
  }

  /// The same plus `shift` `(N, out)`, a number for each sample and channel.
  public Var shifted(Tape tape, Parameters parameters, Var x, Var shift) {
    boolean exact = shift.value().dtype() == DType.F32;
    return apply(
        tape, parameters, new Tail(true, false, 1), x, exact ? shift : shift.cast(DType.F32));
  }

  /// The same plus `residual` `(N, H', W', out)`, and that times `scale`.
  public Var joined(Tape tape, Parameters parameters, Var x, Var residual, double scale) {
    return apply(tape, parameters, new Tail(false, true, scale), x, residual);
  }

  private Var apply(Tape tape, Parameters parameters, Tail tail, Var x, Var... added) {
    Var weight = tape.use(parameters.weight(name));
    Var bias = tape.use(parameters.bias(name));
    Var[] inputs = Stream.concat(Stream.of(x, weight, bias), Stream.of(added)).toArray(Var[]::new);
    return tape.apply(new Conv2d(stride, padding, 1, tail), inputs);
  }
}
