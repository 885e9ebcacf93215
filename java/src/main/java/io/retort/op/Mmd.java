package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `MMD^2 = mean k(u, u') + mean k(v, v') - 2 mean k(u, v)`: how far two samples are from being of
/// one law.
///
/// Inputs: u `(n, d)` generated features, v `(m, d)` real features without gradient; float32 or
/// bfloat16. Output: a float32 scalar. The biased estimate averages over all pairs and is never
/// negative, but its gradient shrinks the spread of u by a part 1/n; the unbiased one leaves the
/// pairs `i = j` out, has mean 0 for samples of one law and needs two points of each. The bandwidth
/// of [MmdKernel.Rbf] is the mean squared distance over the pairs `i != j` of the joint sample and
/// is a constant of the gradient. Saved: `d MMD^2 / d u`, from the same pass as the value.
/// Compute-bound but for the linear kernel. Source: Gretton et al. 2012, eq. 3 and 5.
public record Mmd(MmdKernel kernel, boolean unbiased) implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    Shape u = inputs.get(0);
    Shape v = inputs.get(1);
    if (u.rank() != 2 || v.rank() != 2 || u.dim(1) != v.dim(1) || u.dim(1) == 0) {
      throw new ShapeException(
          name() + ": inputs must be (n, d) and (m, d), got " + u + " and " + v);
    }
    long least = unbiased ? 2 : 1;
    if (u.dim(0) < least || v.dim(0) < least) {
      throw new ShapeException(
          name() + ": samples must have at least " + least + " points, got " + u + " and " + v);
    }
    return Shape.of();
  }

  @Override
  public DType dtype(List<Tensor> inputs) {
    return DType.F32;
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    ElementTypes.same(name(), inputs);
    Tensor u = inputs.get(0);
    Tensor loss = scope.allocate(Shape.of());
    Tensor gradient = scope.allocate(u.shape());
    backend.mmd().mmd(kernel, unbiased, u, inputs.get(1), loss, gradient);
    return List.of(loss, gradient);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    Tensor unit = saved.extra(0);
    Tensor scaled = scope.allocate(unit.shape());
    backend
        .elementwise()
        .broadcast(
            Broadcast.Kind.MULTIPLY,
            AxisGroups.broadcast(name(), gradOut.shape(), unit.shape()),
            unit,
            gradOut,
            scaled);
    DType wanted = saved.input(0).dtype();
    if (wanted == DType.F32) {
      return Arrays.asList(scaled, null);
    }
    Tensor rounded = scope.allocate(unit.shape(), wanted);
    backend.elementwise().cast(scaled, rounded);
    scope.release(scaled);
    return Arrays.asList(rounded, null);
  }

  @Override
  public boolean differentiable(int index) {
    return index == 0;
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[][] u = points(inputs.get(0), shapes.get(0));
    double[][] v = points(inputs.get(1), shapes.get(1));
    double bandwidth = bandwidth(u, v);
    double within = mean(u, u, bandwidth, unbiased) + mean(v, v, bandwidth, unbiased);
    return new double[] {within - 2 * mean(u, v, bandwidth, false)};
  }

  /// Mean kernel value over all pairs, or over those of different numbers.
  private double mean(double[][] x, double[][] y, double bandwidth, boolean different) {
    double sum = 0;
    int pairs = 0;
    for (int i = 0; i < x.length; i++) {
      for (int j = 0; j < y.length; j++) {
        if (!different || i != j) {
          sum += kernel.value(x[i], y[j], bandwidth);
          pairs++;
        }
      }
    }
    return sum / pairs;
  }

  /// Mean squared distance over the pairs `i != j` of the joint sample.
  private static double bandwidth(double[][] u, double[][] v) {
    List<double[]> joint = new ArrayList<>(Arrays.asList(u));
    joint.addAll(Arrays.asList(v));
    double sum = 0;
    for (double[] x : joint) {
      for (double[] y : joint) {
        sum += squaredDistance(x, y);
      }
    }
    return sum / ((double) joint.size() * (joint.size() - 1));
  }

  private static double squaredDistance(double[] x, double[] y) {
    double sum = 0;
    for (int k = 0; k < x.length; k++) {
      sum += (x[k] - y[k]) * (x[k] - y[k]);
    }
    return sum;
  }

  private static double[][] points(double[] values, Shape shape) {
    int d = (int) shape.dim(1);
    double[][] points = new double[(int) shape.dim(0)][];
    Arrays.setAll(points, i -> Arrays.copyOfRange(values, i * d, (i + 1) * d));
    return points;
  }

  /// For RBF kernels: the derivative with the bandwidth held constant.
  @Override
  public @Nullable List<double @Nullable []> referenceVjp(
      List<double[]> inputs, List<Shape> shapes, double[] gradOut) {
    if (!(kernel instanceof MmdKernel.Rbf rbf)) {
      return null;
    }
    double[][] u = points(inputs.get(0), shapes.get(0));
    double[][] v = points(inputs.get(1), shapes.get(1));
    double bandwidth = bandwidth(u, v);
    double n = u.length;
    double[] gradient = new double[inputs.get(0).length];
    for (int i = 0; i < u.length; i++) {
      for (double[] other : u) {
        addSlope(rbf, u[i], other, bandwidth, 2 / (n * (unbiased ? n - 1 : n)), gradient, i);
      }
      for (double[] other : v) {
        addSlope(rbf, u[i], other, bandwidth, -2 / (n * v.length), gradient, i);
      }
    }
    return Arrays.asList(Arrays.stream(gradient).map(g -> g * gradOut[0]).toArray(), null);
  }

  /// Adds `weight * dk(x, y) / dx` to row `row`; 0 for a point and itself.
  private static void addSlope(
      MmdKernel.Rbf rbf,
      double[] x,
      double[] y,
      double bandwidth,
      double weight,
      double[] gradient,
      int row) {
    double squared = squaredDistance(x, y);
    for (double factor : rbf.bandwidthFactors()) {
      double width = bandwidth * factor;
      for (int k = 0; k < x.length; k++) {
        gradient[row * x.length + k] +=
            weight * Math.exp(-squared / width) * -2 / width * (x[k] - y[k]);
      }
    }
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double n = inputs.get(0).dim(0);
    double m = inputs.get(1).dim(0);
    double d = inputs.get(0).dim(1);
    double flops =
        kernel instanceof MmdKernel.Linear
            ? 4 * (n + m) * d
            : 2 * d * (2 * n * (n + m) + m * m / 2);
    return new Cost(flops, 4 * d * (2 * n + m));
  }

  public static List<Case> cases() {
    List<Case> cases = new ArrayList<>();
    for (boolean unbiased : new boolean[] {false, true}) {
      for (MmdKernel kernel :
          List.of(
              new MmdKernel.Linear(),
              MmdKernel.Rbf.standard(),
              MmdKernel.Polynomial.kid(3),
              new MmdKernel.Energy())) {
        var op = new Mmd(kernel, unbiased);
        cases.add(samples("prime", op, 5, 7, 3));
        cases.add(samples("two points", op, 2, 2, 1));
        cases.add(samples("second block, several threads", op, 65, 67, 2));
        cases.add(
            Case.of(
                    "bf16",
                    op,
                    Input.normal(5, 6).bf16(),
                    Input.normal(0.5, 2, Shape.of(9, 6)).bf16())
                .within(1e-4, 1e-4, "the value is float32")
                .gradientsWithin(100));
        if (!(kernel instanceof MmdKernel.Polynomial)) {
          cases.add(
              Case.of(
                      "mean 1000",
                      op,
                      Input.normal(1000, 1, Shape.of(6, 5)),
                      Input.normal(1000, 2, Shape.of(4, 5)))
                  .within(3e-4, 3e-4, "centred values of 1000 are rounded at 2^-14"));
        }
      }
    }
    var rbf = new Mmd(MmdKernel.Rbf.standard(), true);
    cases.add(samples("second panel of dimensions", rbf, 3, 4, 130));
    cases.add(samples("second group of blocks", rbf, 3, 260, 1));
    cases.add(
        samples("one narrow width", new Mmd(new MmdKernel.Rbf(List.of(0.01)), false), 9, 9, 3));
    cases.add(samples("degree one", new Mmd(new MmdKernel.Polynomial(1, 1, 0), false), 1, 1, 17));
    return cases;
  }

  private static Case samples(String name, Mmd op, long n, long m, long d) {
    return Case.of(name, op, Input.normal(n, d), Input.normal(0.5, 1.5, Shape.of(m, d)));
  }
}
