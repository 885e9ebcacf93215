package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `y_ij` = mean or maximum of the `kernel x kernel` window at `(stride i, stride j)`; windows lie
/// inside the image.
///
/// x `(N, H, W, C)` float32 or bfloat16; y has `(H - kernel) / stride + 1` rows, rounded down, and
/// columns alike. The gradient of a maximum goes to the first pixel, in reading order, that has it.
/// Cost: one read and one write; memory-bound.
public record Pool(Kind kind, int kernel, int stride) implements Op {

  public enum Kind {
    AVG,
    MAX
  }

  public Pool {
    if (kernel < 1 || stride < 1) {
      throw new IllegalArgumentException(
          "pool: kernel and stride must be >= 1, got " + kernel + " and " + stride);
    }
  }

  /// @throws ShapeException if x is not `(N, H, W, C)` or smaller than the kernel
  @Override
  public Shape infer(List<Shape> inputs) {
    Shape x = inputs.getFirst();
    if (x.rank() != 4 || x.elements() == 0 || Math.min(x.dim(1), x.dim(2)) < kernel) {
      throw new ShapeException(
          "pool: x must be (N, H, W, C) with H and W at least " + kernel + ", got " + x);
    }
    return Shape.of(x.dim(0), windows(x.dim(1)), windows(x.dim(2)), x.dim(3));
  }

  private long windows(long extent) {
    return (extent - kernel) / stride + 1;
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor x = inputs.getFirst();
    Tensor y = scope.allocate(infer(List.of(x.shape())), ElementTypes.floating(name(), x));
    backend.resampling().pool(kind, kernel, stride, x, y);
    return List.of(y);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    if (!saved.needs(0)) {
      return Collections.singletonList(null);
    }
    Tensor x = saved.input(0);
    Tensor gradient = scope.allocate(x.shape(), x.dtype());
    backend.resampling().poolGradient(kind, kernel, stride, x, gradOut, gradient);
    return List.of(gradient);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] x = inputs.getFirst();
    Shape in = shapes.getFirst();
    Shape out = infer(shapes);
    double[] y = new double[(int) out.elements()];
    int k = 0;
    for (int n = 0; n < out.dim(0); n++) {
      for (int i = 0; i < out.dim(1); i++) {
        for (int j = 0; j < out.dim(2); j++) {
          for (int c = 0; c < out.dim(3); c++) {
            y[k++] = window(x, in, n, i * stride, j * stride, c);
          }
        }
      }
    }
    return y;
  }

  private double window(double[] x, Shape shape, int n, int top, int left, int c) {
    double sum = 0;
    double largest = Double.NEGATIVE_INFINITY;
    for (int row = top; row < top + kernel; row++) {
      for (int column = left; column < left + kernel; column++) {
        long pixel = (n * shape.dim(1) + row) * shape.dim(2) + column;
        double value = x[(int) (pixel * shape.dim(3) + c)];
        sum += value;
        largest = Math.max(largest, value);
      }
    }
    return kind == Kind.MAX ? largest : sum / (kernel * kernel);
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double out = infer(inputs).elements();
    return new Cost((double) kernel * kernel * out, 4 * (out + inputs.getFirst().elements()));
  }

  public static List<Case> cases() {
    List<Case> cases = new ArrayList<>();
    for (Kind kind : Kind.values()) {
      cases.add(Case.of("one pixel", new Pool(kind, 1, 1), Input.normal(1, 1, 1, 1)));
      cases.add(Case.of("halve", new Pool(kind, 2, 2), Input.normal(2, 4, 6, 5)));
      cases.add(Case.of("border dropped", new Pool(kind, 2, 2), Input.normal(2, 5, 7, 3)));
      cases.add(Case.of("overlapping", new Pool(kind, 3, 2), Input.normal(1, 7, 7, 5)));
      cases.add(Case.of("stride 1", new Pool(kind, 3, 1), Input.normal(1, 5, 6, 7)));
      cases.add(Case.of("gaps", new Pool(kind, 2, 3), Input.normal(1, 8, 6, 3)));
      cases.add(Case.of("whole image", new Pool(kind, 4, 4), Input.normal(2, 4, 4, 9)));
      cases.add(Case.of("65 channels", new Pool(kind, 2, 2), Input.normal(1, 2, 2, 65)));
      cases.add(Case.of("parallel", new Pool(kind, 2, 2), Input.normal(3, 32, 33, 16)));
      cases.add(
          Case.of("mean 1000", new Pool(kind, 2, 2), Input.normal(1000, 100, Shape.of(1, 4, 4, 8)))
              .within(1e-5, 1e-6, "float32 rounding of 1000"));
      cases.add(
          Case.of("bf16", new Pool(kind, 2, 2), Input.normal(1, 4, 6, 5).bf16())
              .within(1e-2, 1e-2, "output and gradient are rounded to 2^-8"));
    }
    return cases;
  }
}
