package io.retort.bench.ops;

import io.retort.op.Backend;
import io.retort.op.Case.Input;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.List;
import java.util.Map;

/// A step of Adam with clipping and a moving average, over all parameters of a network.
record AdamWorkload(long parameters) implements Workload {
  private static final long FEW = 1003;

  /// As many results as are compared, from the start.
  private static final int COMPARED = 1 << 20;

  @Override
  public String name() {
    return "adam + average, %.1f M".formatted(parameters / 1e6);
  }

  @Override
  public String goal() {
    return "G8";
  }

  @Override
  public DType precision() {
    return DType.F32;
  }

  @Override
  public AdamWorkload small() {
    return new AdamWorkload(FEW);
  }

  @Override
  public Map<String, Object> description() {
    return Map.of(
        "name", name(), "goal", goal(), "precision", "F32", "op", "adam", "count", parameters);
  }

  @Override
  public List<Trial> trials(Backend backend, Scope scope, DType precision) {
    var numbers = new Numbers(backend);
    Tensor value = fill(numbers, scope, 0, -0.1, 0.1);
    Tensor gradient = fill(numbers, scope, 1, -1e-3, 1e-3);
    Tensor first = fill(numbers, scope, 2, -1e-3, 1e-3);
    Tensor second = fill(numbers, scope, 3, 1e-8, 1e-6);
    Tensor average = fill(numbers, scope, 4, -0.1, 0.1);
    Tensor norm = scope.allocate(Shape.of(1), DType.I64);
    Runnable step =
        () ->
            backend
                .optimizers()
                .adam(
                    value, gradient, first, second, average, null, norm, 100, 1e-3, 0.9, 0.99, 1e-8,
                    0.01, 1, 0.999);
    double bytes = (5 + 4) * value.bytes();
    return List.of(
        new Trial(
            "step",
            step,
            0,
            bytes,
            () -> {
              step.run();
              try (var views = new Scope(backend.memory())) {
                Shape compared = Shape.of(Math.min(parameters, COMPARED));
                return List.of(value, first, second, average).stream()
                    .map(tensor -> tensor.view(views, compared, 0).floats())
                    .toList();
              }
            }));
  }

  private Tensor fill(Numbers numbers, Scope scope, int stream, double low, double high) {
    return numbers.tensor(scope, Input.uniform(low, high, parameters), stream, DType.F32);
  }
}
