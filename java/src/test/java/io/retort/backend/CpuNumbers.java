package io.retort.backend;

import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Random;
import java.util.stream.IntStream;

/// Random tensors of the processor, their values, and how far those are from float64.
final class CpuNumbers {
  static final CpuBackend CPU = CpuBackend.open();

  private CpuNumbers() {}

  /// Normal(0, 1), rounded to `type`.
  static Tensor normal(Scope scope, Random random, Shape shape, DType type) {
    Tensor values = scope.allocate(shape);
    float[] drawn = new float[Math.toIntExact(shape.elements())];
    for (int i = 0; i < drawn.length; i++) {
      drawn[i] = (float) random.nextGaussian();
    }
    values.set(drawn);
    if (type == DType.F32) {
      return values;
    }
    Tensor rounded = scope.allocate(shape, type);
    CPU.elementwise().cast(values, rounded);
    return rounded;
  }

  static float[] floats(Scope scope, Tensor stored) {
    if (stored.dtype() == DType.F32) {
      return stored.floats();
    }
    Tensor values = scope.allocate(stored.shape());
    CPU.elementwise().cast(stored, values);
    return values.floats();
  }

  /// Relative L2.
  static double distance(float[] actual, double[] exact) {
    double error =
        IntStream.range(0, exact.length).mapToDouble(i -> square(actual[i] - exact[i])).sum();
    double size = IntStream.range(0, exact.length).mapToDouble(i -> square(exact[i])).sum();
    return Math.sqrt(error / size);
  }

  private static double square(double value) {
    return value * value;
  }
}
