package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// Images `(N, H, W, C)` with a border of zeroes, so many rows and columns on each side.
public record Pad(int top, int bottom, int left, int right) implements Op {

  public Pad {
    if (top < 0 || bottom < 0 || left < 0 || right < 0) {
      throw new ShapeException(
          "pad: borders must be >= 0, got "
              + Arrays.asList(top, bottom, left, right)
              + " (top, bottom, left, right)");
    }
  }

  @Override
  public Shape infer(List<Shape> inputs) {
    Shape x = inputs.getFirst();
    if (x.rank() != 4) {
      throw new ShapeException(name() + ": images must be (N, H, W, C), got " + x);
    }
    return x.with(1, top + x.dim(1) + bottom).with(2, left + x.dim(2) + right);
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    Tensor x = inputs.getFirst();
    Tensor out = scope.allocate(infer(List.of(x.shape())), x.dtype());
    backend.layouts().pad(x, top, bottom, left, right, out);
    return List.of(out);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    if (!saved.needs(0)) {
      return Collections.singletonList(null);
    }
    Tensor gradient = scope.allocate(saved.input(0).shape(), gradOut.dtype());
    backend.layouts().crop(gradOut, top, bottom, left, right, gradient);
    return List.of(gradient);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    Shape x = shapes.getFirst();
    Shape padded = infer(shapes);
    double[] out = new double[Math.toIntExact(padded.elements())];
    for (int i = 0; i < inputs.getFirst().length; i++) {
      long channel = i % x.dim(3);
      long column = i / x.dim(3) % x.dim(2);
      long row = i / (x.dim(3) * x.dim(2)) % x.dim(1);
      long sample = i / (x.dim(3) * x.dim(2) * x.dim(1));
      long pixel = (sample * padded.dim(1) + row + top) * padded.dim(2) + column + left;
      out[Math.toIntExact(pixel * x.dim(3) + channel)] = inputs.getFirst()[i];
    }
    return out;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    return new Cost(0, 4.0 * inputs.getFirst().elements() + 4.0 * infer(inputs).elements());
  }

  public static List<Case> cases() {
    return List.of(
        Case.of("one pixel", new Pad(1, 1, 1, 1), Input.normal(1, 1, 1, 1)),
        Case.of("uneven", new Pad(1, 2, 3, 0), Input.normal(2, 3, 5, 3)),
        Case.of("nothing", new Pad(0, 0, 0, 0), Input.normal(2, 3, 5, 3)),
        Case.of("rows only", new Pad(2, 0, 0, 0), Input.normal(3, 4, 3, 7)),
        Case.of("parallel", new Pad(2, 2, 2, 2), Input.normal(67, 32, 32, 4)),
        Case.of("bf16", new Pad(0, 1, 2, 1), Input.normal(2, 3, 5, 3).bf16())
            .within(0, 4e-3, "values are moved; the incoming gradient is rounded to 2^-8"));
  }
}
