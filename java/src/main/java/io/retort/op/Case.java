package io.retort.op;

import io.retort.tensor.DType;
import io.retort.tensor.Shape;
import java.util.List;

/// One contract case: an op, its inputs, and how exact the result must be.
///
/// Checked per element: `|a - b| <= atol + rtol * |b|`, for the output and (with both bounds times
/// `gradFactor`) for every gradient, against float64.
///
/// @param name what is special about it ("prime width", "mean 1000")
/// @param reason why the bounds are what they are
public record Case(
    String name,
    Op op,
    List<Input> inputs,
    double atol,
    double rtol,
    double gradFactor,
    String reason) {

  public Case {
    inputs = List.copyOf(inputs);
  }

  /// A float32 case with the default bounds: atol 1e-5, rtol 1e-5, gradients 10 times as loose.
  public static Case of(String name, Op op, Input... inputs) {
    return new Case(name, op, List.of(inputs), 1e-5, 1e-5, 10, "float32 rounding of short sums");
  }

  /// The same case with other bounds and their reason.
  public Case within(double absolute, double relative, String why) {
    return new Case(name, op, inputs, absolute, relative, gradFactor, why);
  }

  /// The same case with gradients bounded by `factor` times the output's bounds.
  public Case gradientsWithin(double factor) {
    return new Case(name, op, inputs, atol, rtol, factor, reason);
  }

  /// How one input is filled, reproducibly from a seed.
  ///
  /// @param kind law of the values
  /// @param a mean, low end, or unused
  /// @param b standard deviation, high end, or exclusive bound of integers
  public record Input(Shape shape, DType dtype, Kind kind, double a, double b) {

    public enum Kind {
      NORMAL,
      UNIFORM,
      INTEGER
    }

    /// Normal(0, 1) float32.
    public static Input normal(long... dims) {
      return new Input(Shape.of(dims), DType.F32, Kind.NORMAL, 0, 1);
    }

    /// Normal(mean, std) float32.
    public static Input normal(double mean, double std, Shape shape) {
      return new Input(shape, DType.F32, Kind.NORMAL, mean, std);
    }

    /// Uniform in [low, high) float32: for inputs that must stay positive or away from a kink.
    public static Input uniform(double low, double high, long... dims) {
      return new Input(Shape.of(dims), DType.F32, Kind.UNIFORM, low, high);
    }

    /// Integers in [0, bound).
    public static Input integers(long bound, long... dims) {
      return new Input(Shape.of(dims), DType.I64, Kind.INTEGER, 0, bound);
    }

    /// The same input stored as bfloat16.
    public Input bf16() {
      return new Input(shape, DType.BF16, kind, a, b);
    }
  }
}
