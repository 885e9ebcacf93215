package io.retort.bench.ops;

import io.retort.op.Backend;
import io.retort.op.Case.Input;
import io.retort.op.Op;
import io.retort.op.Op.Saved;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/// An op, forward and backward.
///
/// @param inputs at a size that matters
/// @param few the same in small
/// @param outputs how many of the tensors that the op computes are results, not aids of its
///   backward pass
/// @param passes gradients to time after the forward pass
record OpWorkload(
    String name,
    String goal,
    Op op,
    List<Input> inputs,
    List<Input> few,
    int outputs,
    List<Pass> passes)
    implements Workload {

  /// A part of the backward pass.
  ///
  /// @param wanted inputs whose gradients are computed
  /// @param reads inputs that it cannot do without
  /// @param flops in units of those of the forward pass
  record Pass(String name, List<Integer> wanted, List<Integer> reads, double flops) {}

  @Override
  public DType precision() {
    return inputs.getFirst().dtype();
  }

  @Override
  public OpWorkload small() {
    return new OpWorkload(name, goal, op, few, few, outputs, passes);
  }

  @Override
  public Map<String, Object> description() {
    var description = new LinkedHashMap<String, Object>();
    description.put("name", name);
    description.put("goal", goal);
    description.put("precision", precision().name());
    description.put("op", op.name());
    description.put("parameters", op.toString());
    description.put(
        "inputs",
        inputs.stream()
            .map(input ->
                Map.of(
                    "shape",
                    Arrays.stream(input.shape().dims()).boxed().toList(),
                    "dtype",
                    input.dtype().name()))
            .toList());
    description.put("passes", passes.stream().map(Pass::name).toList());
    return description;
  }

  @Override
  public List<Trial> trials(Backend backend, Scope scope, DType precision) {
    var numbers = new Numbers(backend);
    List<Tensor> tensors = new ArrayList<>();
    for (int i = 0; i < inputs.size(); i++) {
      Input input = inputs.get(i);
      boolean activation = input.dtype() == precision();
      tensors.add(numbers.tensor(scope, input, i, activation ? precision : input.dtype()));
    }
    List<Tensor> computed = op.run(backend, scope, tensors);
    List<Trial> trials = new ArrayList<>();
    trials.add(forward(backend, tensors, computed, numbers));
    Tensor output = computed.getFirst();
    Tensor cotangent = numbers.cotangent(scope, output, precision());
    for (Pass pass : passes) {
      boolean[] wanted = new boolean[tensors.size()];
      pass.wanted().forEach(i -> wanted[i] = true);
      var saved = new Saved(tensors, output, computed.subList(1, computed.size()), wanted);
      trials.add(backward(backend, pass, saved, cotangent, numbers));
    }
    return trials;
  }

  private Trial forward(
      Backend backend, List<Tensor> tensors, List<Tensor> computed, Numbers numbers) {
    double flops = op.cost(tensors.stream().map(Tensor::shape).toList()).flops();
    double bytes = bytes(tensors) + bytes(computed.subList(0, outputs));
    return new Trial(
        "forward",
        () -> {
          try (var scope = new Scope(backend.memory())) {
            op.run(backend, scope, tensors);
          }
        },
        flops,
        bytes,
        () -> {
          try (var scope = new Scope(backend.memory())) {
            return op.run(backend, scope, tensors).stream()
                .limit(outputs)
                .map(numbers::floats)
                .toList();
          }
        });
  }

  private Trial backward(
      Backend backend, Pass pass, Saved saved, Tensor cotangent, Numbers numbers) {
    List<Tensor> tensors = saved.inputs();
    double flops = pass.flops() * op.cost(tensors.stream().map(Tensor::shape).toList()).flops();
    double bytes =
        bytes(pass.reads().stream().map(tensors::get).toList())
            + cotangent.bytes()
            + bytes(pass.wanted().stream().map(tensors::get).toList());
    return new Trial(
        pass.name(),
        () -> {
          try (var scope = new Scope(backend.memory())) {
            op.vjp(backend, scope, saved, cotangent);
          }
        },
        flops,
        bytes,
        () -> {
          try (var scope = new Scope(backend.memory())) {
            return op.vjp(backend, scope, saved, cotangent).stream()
                .filter(Objects::nonNull)
                .map(numbers::floats)
                .toList();
          }
        });
  }

  private static double bytes(List<Tensor> tensors) {
    return tensors.stream().mapToDouble(Tensor::bytes).sum();
  }
}
