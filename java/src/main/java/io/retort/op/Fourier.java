package io.retort.op;

import io.retort.op.Case.Input;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.ShapeException;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// `(cos 2 pi f_k c, sin 2 pi f_k c)` with given frequencies.
///
/// Inputs c `(N)` and frequencies `(half)`, which are constants; output `(N, 2 half)`, float32.
/// Source: Tancik et al. 2020; EDM's NCSN++ noise embedding draws the frequencies once from
/// Normal(0, 16).
public record Fourier() implements Op {

  @Override
  public Shape infer(List<Shape> inputs) {
    if (inputs.getFirst().rank() != 1 || inputs.get(1).rank() != 1) {
      throw new ShapeException(
          name()
              + ": inputs must be (N) and (half), got "
              + inputs.getFirst()
              + " and "
              + inputs.get(1));
    }
    return Shape.of(inputs.getFirst().dim(0), 2 * inputs.get(1).dim(0));
  }

  @Override
  public List<Tensor> run(Backend backend, Scope scope, List<Tensor> inputs) {
    ElementTypes.weights(name(), inputs, 0);
    Tensor c = inputs.getFirst();
    Tensor frequencies = inputs.get(1);
    Tensor out = scope.allocate(infer(List.of(c.shape(), frequencies.shape())));
    backend.embeddings().fourier(c, frequencies, out);
    return List.of(out);
  }

  @Override
  public List<@Nullable Tensor> vjp(Backend backend, Scope scope, Saved saved, Tensor gradOut) {
    if (!saved.needs(0)) {
      return Arrays.asList(null, null);
    }
    Tensor gradient = scope.allocate(saved.input(0).shape());
    backend.embeddings().fourierGradient(saved.input(0), saved.input(1), gradOut, gradient);
    return Arrays.asList(gradient, null);
  }

  @Override
  public double[] reference(List<double[]> inputs, List<Shape> shapes) {
    double[] c = inputs.getFirst();
    double[] frequencies = inputs.get(1);
    int half = frequencies.length;
    double[] out = new double[c.length * 2 * half];
    for (int n = 0; n < c.length; n++) {
      for (int k = 0; k < half; k++) {
        double angle = 2 * Math.PI * frequencies[k] * c[n];
        out[n * 2 * half + k] = Math.cos(angle);
        out[n * 2 * half + half + k] = Math.sin(angle);
      }
    }
    return out;
  }

  @Override
  public boolean differentiable(int index) {
    return index == 0;
  }

  @Override
  public Cost cost(List<Shape> inputs) {
    double elements = infer(inputs).elements();
    return new Cost(20 * elements, 4 * elements);
  }

  public static List<Case> cases() {
    return List.of(
        Case.of("one", new Fourier(), Input.normal(1), Input.normal(1)),
        Case.of("ncsnpp", new Fourier(), Input.normal(5), Input.normal(0, 16, Shape.of(32))),
        Case.of("prime", new Fourier(), Input.normal(7), Input.normal(0, 1, Shape.of(13))),
        Case.of("parallel", new Fourier(), Input.normal(33), Input.normal(0, 4, Shape.of(65))));
  }
}
