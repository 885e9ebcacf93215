package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `y_i = f(x_i)` for one of the functions of [Kind].
///
/// Any shape, float32 or bfloat16. The gradient is computed from x; at a kink it is the one from
/// the left, of ABS at 0 it is 0. Cost: one read and one write; memory-bound.
///
/// @param slope what LEAKY_RELU multiplies negative values with; 0 for all others
public record Activation(Kind kind, double slope) implements Op {

  /// The function; the order is that of the native contract (`retort/elementwise.h`).
  public enum Kind {
    RELU,
    LEAKY_RELU,
    SILU,
    GELU_TANH,
    GELU,
    SIGMOID,
    TANH,
    SOFTPLUS,
    EXP,
    LOG,
    SQUARE,
    SQRT,
    ABS;

    /// The number the native contract uses.
    public int code() {
      return ordinal();
    }
  }

  /// A function without a parameter.
  public Activation(Kind kind) {
    this(kind, 0);
  }

  @Override
  public Shape infer(List<Shape> inputs) {
    return inputs.getFirst();
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor x = inputs.getFirst();
    Tensor y = scope.allocate(x.shape(), ElementTypes.floating(name(), x));
    backend.elementwise().activation(kind, slope, x, y);
    return List.of(y);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    if (!saved.needs(0)) {
      return Collections.singletonList(null);
    }
    Tensor x = saved.input(0);
    Tensor gradient = scope.allocate(x.shape(), x.dtype());
    backend.elementwise().activationGradient(kind, slope, x, gradOut, gradient);
    return List.of(gradient);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] y = inputs.getFirst().clone();
    for (int i = 0; i < y.length; i++) {
      y[i] = value(y[i]);
    }
    return y;
  }

  private double value(double x) {
    return switch (kind) {
      case RELU -> Math.max(x, 0);
      case LEAKY_RELU -> x > 0 ? x : slope * x;
      case SILU -> x / (1 + Math.exp(-x));
      case GELU_TANH ->
          x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
      case GELU -> x * normalCumulative(x);
      case SIGMOID -> 1 / (1 + Math.exp(-x));
      case TANH -> Math.tanh(x);
      case SOFTPLUS -> Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
      case EXP -> Math.exp(x);
      case LOG -> Math.log(x);
      case SQUARE -> x * x;
      case SQRT -> Math.sqrt(x);
      case ABS -> Math.abs(x);
    };
  }

  /// `Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/(3 5) + ...)`, Marsaglia 2004; exact to float64 for
  /// |x| below 7.
  private static double normalCumulative(double x) {
    if (Math.abs(x) > 7) {
      return x > 0 ? 1 : 0;
    }
    double term = x;
    double sum = x;
    for (int k = 3; Math.abs(term) > 1e-18 * Math.abs(sum); k += 2) {
      term *= x * x / k;
      sum += term;
    }
    return 0.5 + sum * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double elements = inputs.getFirst().elements();
    return new Cost(10 * elements, 8 * elements);
  }

  public static List<Case> cases() {
    List<Case> cases = new ArrayList<>();
    for (Kind kind : Kind.values()) {
      var op = new Activation(kind, kind == Kind.LEAKY_RELU ? 0.2 : 0);
      boolean positive = kind == Kind.LOG || kind == Kind.SQRT;
      Input odd = positive ? Input.uniform(0.05, 20, 3, 7, 5) : Input.normal(3, 7, 5);
      cases.add(Case.of(kind + " odd", op, odd));
      cases.add(
          Case.of(kind + " bf16", op, odd.bf16())
              .within(1e-2, 1e-2, "the result is rounded to 2^-8"));
    }
    Input wide = Input.uniform(-40, 40, 129);
    for (Kind kind : List.of(Kind.SILU, Kind.GELU, Kind.GELU_TANH, Kind.SIGMOID, Kind.TANH)) {
      cases.add(Case.of(kind + " saturated", new Activation(kind), wide));
    }
    var silu = new Activation(Kind.SILU);
    cases.add(Case.of("one element", silu, Input.normal(1)));
    cases.add(Case.of("scalar", silu, Input.normal()));
    cases.add(Case.of("power of two minus one", silu, Input.normal(63)));
    cases.add(Case.of("mean 1000", silu, Input.normal(1000, 1, Shape.of(31))));
    cases.add(Case.of("parallel", silu, Input.normal(67, 1009)));
    cases.add(Case.of("softplus of large", new Activation(Kind.SOFTPLUS), wide));
    return cases;
  }
}
