package io.retort.bench.ops;

import io.retort.op.Backend;
import io.retort.op.Case.Input;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Tensor;
import java.util.stream.IntStream;

/// Numbers from a hash, into tensors of a backend and out of them: the same on every backend.
record Numbers(Backend backend) {
  private static final int COTANGENT = 1 << 20;
  private static final double SPREAD = Math.sqrt(3);

  /// An input's values; where it is bfloat16 they are rounded to it, whatever the tensor's type.
  ///
  /// @param index which of the inputs it is
  Tensor tensor(Scope scope, Input input, int index, DType dtype) {
    int count = Math.toIntExact(input.shape().elements());
    if (input.dtype() == DType.I64) {
      long bound = (long) input.b();
      long[] values = IntStream.range(0, count).mapToLong(i -> mix(index, i) % bound).toArray();
      return scope.of(input.shape(), values);
    }
    double[] line = line(input);
    float[] values = values(count, index, line[0], line[1]);
    Tensor exact = scope.of(input.shape(), values);
    if (input.dtype() == DType.F32) {
      return exact;
    }
    Tensor rounded = cast(scope, exact, DType.BF16);
    return dtype == DType.BF16 ? rounded : cast(scope, rounded, DType.F32);
  }

  /// Mean and half-width of the input's law, which is replaced by a uniform one.
  private static double[] line(Input input) {
    return switch (input.kind()) {
      case NORMAL -> new double[] {input.a(), SPREAD * input.b()};
      case UNIFORM, INTEGER ->
          new double[] {(input.a() + input.b()) / 2, (input.b() - input.a()) / 2};
    };
  }

  /// A gradient of the output, with values that `precision` can hold.
  Tensor cotangent(Scope scope, Tensor output, DType precision) {
    Input law = Input.normal(0, 1, output.shape());
    Input input = precision == DType.BF16 ? law.bf16() : law;
    return tensor(scope, input, COTANGENT, output.dtype());
  }

  /// `middle + width u`, u uniform in [-1, 1).
  static float[] values(int count, int stream, double middle, double width) {
    float[] values = new float[count];
    IntStream.range(0, count)
        .parallel()
        .forEach(
            i -> values[i] = (float) (middle + width * ((mix(stream, i) >>> 23) * 0x1p-39 - 1)));
    return values;
  }

  /// SplitMix64's finaliser without its sign.
  private static long mix(int stream, int i) {
    long z = ((long) stream << 32) + i + 0x9e3779b97f4a7c15L;
    z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
    z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
    return (z ^ (z >>> 31)) >>> 1;
  }

  private Tensor cast(Scope scope, Tensor tensor, DType dtype) {
    Tensor out = scope.allocate(tensor.shape(), dtype);
    backend.elementwise().cast(tensor, out);
    return out;
  }

  float[] floats(Tensor tensor) {
    if (tensor.dtype() == DType.F32) {
      return tensor.floats();
    }
    try (var scope = new Scope(backend.memory())) {
      return cast(scope, tensor, DType.F32).floats();
    }
  }
}
