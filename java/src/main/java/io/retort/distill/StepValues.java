package io.retort.distill;

import io.retort.tensor.Scope;
import io.retort.tensor.Tensor;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/// Values that the phases of one step leave for later ones, without gradients.
///
/// They live in the step's scope; a phase's own tensors do not outlive the phase.
public final class StepValues {
  private final Scope scope;
  private final Map<String, Tensor> values = new HashMap<>();

  /// @param scope lives as long as the step
  public StepValues(Scope scope) {
    this.scope = scope;
  }

  /// Keeps a copy of a phase's tensor.
  void put(String name, Tensor value) {
    Tensor copy = scope.allocate(value.shape(), value.dtype()).copyFrom(value);
    if (values.put(name, copy) != null) {
      throw new IllegalStateException("step: two phases left a value named " + name);
    }
  }

  Optional<Tensor> get(String name) {
    return Optional.ofNullable(values.get(name));
  }
}
