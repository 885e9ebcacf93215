package io.retort.train;

import io.retort.distill.Method;
import io.retort.grad.Parameters;
import io.retort.optim.Adam;
import io.retort.tensor.Memory;
import org.jspecify.annotations.Nullable;

/// A role's weights and, if it trains, its optimizer and average. Owns all of them.
///
/// @param average null unless the role is averaged
/// @param adam null if the role is frozen
public record RoleState(
    Method.Role role, Parameters weights, @Nullable Parameters average, @Nullable Adam adam)
    implements AutoCloseable {

  /// Fresh state around first weights; the average starts as a copy of them.
  public static RoleState of(Method.Role role, Parameters weights, Memory memory) {
    weights.fix(role.fixed());
    Parameters average = null;
    if (role.averaged()) {
      average = role.net().plan().allocate(memory);
      average.copyFrom(weights);
    }
    if (role.optimizer().isPresent()) {
      // Now, not in the first step: work that is captured begins where the second step begins.
      weights.zeroGradients();
    }
    Adam adam = role.optimizer().map(spec -> new Adam(weights, spec)).orElse(null);
    return new RoleState(role, weights, average, adam);
  }

  /// The weights to sample with: the average if there is one.
  public Parameters best() {
    return average != null ? average : weights;
  }

  @Override
  public void close() {
    weights.close();
    if (average != null) {
      average.close();
    }
    if (adam != null) {
      adam.close();
    }
  }
}
