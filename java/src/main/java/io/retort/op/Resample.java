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

/// Halves or doubles images with a separable FIR filter, as the networks of EDM do.
///
/// With `f = filter / sum`, k taps and pad `p = (k - 1) / 2` rounded down, along rows and columns:
/// DOWN is `y[o] = sum_t f[t] x[2 o + t - p]`, UP adds `2 f[t] x[i]` to `y[2 i + t - p]`. Filter
/// `[1, 1]` takes the mean of 2 x 2 pixels or repeats each pixel. x `(N, H, W, C)` float32 or
/// bfloat16; an even k gives exactly half and double sizes. Cost: one read and one write;
/// memory-bound for 2 taps. Source: Karras et al. 2022, network blocks.
///
/// @param filter taps, e.g. `[1, 1]` or `[1, 3, 3, 1]`; only their ratios matter
public record Resample(Direction direction, List<Double> filter) implements Op {

  public enum Direction {
    UP,
    DOWN
  }

  public Resample {
    filter = List.copyOf(filter);
    double sum = sum(filter);
    if (filter.isEmpty() || sum == 0 || !Double.isFinite(sum)) {
      throw new IllegalArgumentException(
          "resample: filter must have taps with a finite sum other than 0, got " + filter);
    }
  }

  /// @throws ShapeException if x is not `(N, H, W, C)` or smaller than the filter
  @Override
  public Shape infer(List<Shape> inputs) {
    Shape x = inputs.getFirst();
    if (x.rank() != 4 || x.elements() == 0) {
      throw new ShapeException("resample: x must be (N, H, W, C) and not empty, got " + x);
    }
    long rows = extent(x.dim(1));
    long columns = extent(x.dim(2));
    if (rows < 1 || columns < 1) {
      throw new ShapeException(
          "resample: H and W are too small for " + filter.size() + " taps, got " + x);
    }
    return Shape.of(x.dim(0), rows, columns, x.dim(3));
  }

  private static double sum(List<Double> filter) {
    double sum = 0;
    for (double tap : filter) {
      sum += tap;
    }
    return sum;
  }

  private int pad() {
    return (filter.size() - 1) / 2;
  }

  private long extent(long size) {
    return switch (direction) {
      case DOWN -> Math.floorDiv(size + 2L * pad() - filter.size(), 2L) + 1;
      case UP -> 2 * (size - 1) - 2L * pad() + filter.size();
    };
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor x = inputs.getFirst();
    Tensor y = scope.allocate(infer(List.of(x.shape())), ElementTypes.floating(name(), x));
    backend.resampling().resample(direction, filter, x, y);
    return List.of(y);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    if (!saved.needs(0)) {
      return Collections.singletonList(null);
    }
    Tensor x = saved.input(0);
    Tensor gradient = scope.allocate(x.shape(), x.dtype());
    backend.resampling().resampleGradient(direction, filter, gradOut, gradient);
    return List.of(gradient);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    Shape in = shapes.getFirst();
    Shape out = infer(shapes);
    double sum = sum(filter);
    double gain = (direction == Direction.UP ? 4 : 1) / (sum * sum);
    Shape coarse = direction == Direction.UP ? in : out;
    Shape fine = direction == Direction.UP ? out : in;
    double[] y = new double[(int) out.elements()];
    for (int n = 0; n < coarse.dim(0); n++) {
      for (int i = 0; i < coarse.dim(1); i++) {
        for (int j = 0; j < coarse.dim(2); j++) {
          for (int s = 0; s < filter.size(); s++) {
            for (int t = 0; t < filter.size(); t++) {
              int row = 2 * i + s - pad();
              int column = 2 * j + t - pad();
              if (row < 0 || column < 0 || row >= fine.dim(1) || column >= fine.dim(2)) {
                continue;
              }
              double weight = filter.get(s) * filter.get(t) * gain;
              for (int c = 0; c < coarse.dim(3); c++) {
                int low = index(coarse, n, i, j, c);
                int high = index(fine, n, row, column, c);
                if (direction == Direction.UP) {
                  y[high] += weight * inputs.getFirst()[low];
                } else {
                  y[low] += weight * inputs.getFirst()[high];
                }
              }
            }
          }
        }
      }
    }
    return y;
  }

  private static int index(Shape shape, int n, int row, int column, int c) {
    return (int) (((n * shape.dim(1) + row) * shape.dim(2) + column) * shape.dim(3)) + c;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double in = inputs.getFirst().elements();
    double out = infer(inputs).elements();
    double coarse = Math.min(in, out);
    return new Cost(2.0 * filter.size() * filter.size() * coarse, 4 * (in + out));
  }

  public static List<Case> cases() {
    List<Case> cases = new ArrayList<>();
    var box = List.of(1.0, 1.0);
    var binomial = List.of(1.0, 3.0, 3.0, 1.0);
    var lopsided = List.of(1.0, 2.0, 5.0, -3.0);
    for (Direction direction : Direction.values()) {
      var boxed = new Resample(direction, box);
      var smooth = new Resample(direction, binomial);
      cases.add(Case.of(direction + " smallest", boxed, Input.normal(1, 2, 2, 1)));
      cases.add(Case.of(direction + " box", boxed, Input.normal(2, 4, 6, 5)));
      cases.add(Case.of(direction + " box, odd sizes", boxed, Input.normal(2, 5, 7, 3)));
      cases.add(Case.of(direction + " 1331", smooth, Input.normal(2, 4, 6, 5)));
      cases.add(Case.of(direction + " 1331, odd sizes", smooth, Input.normal(1, 5, 7, 3)));
      cases.add(Case.of(direction + " 1331, smallest", smooth, Input.normal(1, 2, 2, 17)));
      cases.add(
          Case.of(
              direction + " asymmetric",
              new Resample(direction, lopsided),
              Input.normal(1, 6, 4, 9)));
      cases.add(
          Case.of(
              direction + " 3 taps",
              new Resample(direction, List.of(1.0, 2.0, 1.0)),
              Input.normal(1, 5, 6, 33)));
      cases.add(
          Case.of(
              direction + " 1 tap",
              new Resample(direction, List.of(2.0)),
              Input.normal(1, 4, 3, 7)));
      cases.add(Case.of(direction + " parallel", smooth, Input.normal(2, 16, 18, 16)));
      cases.add(
          Case.of(direction + " bf16", smooth, Input.normal(1, 6, 4, 9).bf16())
              .within(1e-2, 1e-2, "output and gradient are rounded to 2^-8"));
    }
    return cases;
  }
}
