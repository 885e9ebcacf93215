package io.retort.optim;

import io.retort.distill.AdamSpec;
import io.retort.grad.Parameter;
import io.retort.grad.Parameters;
import io.retort.op.Backend;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// Adam's state for one network: two moment arenas and a step count.
///
/// Source: Kingma & Ba 2015, algorithm 1; AdamW: Loshchilov & Hutter 2019, algorithm 2.
public final class Adam implements AutoCloseable {
  private final AdamSpec spec;
  private final Parameters parameters;
  private final Scope scope;
  private final Tensor first;
  private final Tensor second;
  private long updates;

  public Adam(Parameters parameters, AdamSpec spec) {
    this.spec = spec;
    this.parameters = parameters;
    scope = new Scope(parameters.values().memory());
    first = scope.zeros(parameters.values().shape(), DType.F32);
    second = scope.zeros(parameters.values().shape(), DType.F32);
  }

  /// Applies the accumulated gradients and, if given, moves the average.
  ///
  /// @return gradient norm before clipping; if not finite, nothing was changed and the update is
  ///   not counted
  public double update(
      Backend backend, double lr, @Nullable Parameters average, double averageDecay) {
    try (Scope step = new Scope(backend.memory())) {
      Tensor norm = step.allocate(Shape.of(1), DType.I64);
      queue(backend, lr, average, averageDecay, null, norm);
      return confirm(norm.longs()[0]);
    }
  }

  /// Queues [#update] and reads nothing; [#confirm] counts it once the norm is known.
  ///
  /// @param loss where it is not finite, nothing is changed either
  /// @param norm one int64, receives the bits of the norm
  public void queue(
      Backend backend,
      double lr,
      @Nullable Parameters average,
      double averageDecay,
      @Nullable Tensor loss,
      Tensor norm) {
    backend
        .optimizers()
        .adam(
            parameters.values(),
            parameters.gradients(),
            first,
            second,
            average == null ? null : average.values(),
            loss,
            norm,
            updates + 1,
            lr,
            spec.beta1(),
            spec.beta2(),
            spec.eps(),
            spec.decay(),
            spec.clip(),
            averageDecay);
  }

  /// Counts a queued update if its norm is finite.
  ///
  /// @param bits what [#queue] left in `norm`
  /// @return the norm
  public double confirm(long bits) {
    double norm = Double.longBitsToDouble(bits);
    if (Double.isFinite(norm)) {
      updates++;
    }
    return norm;
  }

  /// Forgets the moments of one weight, which begins anew.
  public void forget(Parameter weight) {
    try (Scope views = new Scope(first.memory())) {
      first.view(views, weight.shape(), weight.offset()).zero();
      second.view(views, weight.shape(), weight.offset()).zero();
    }
  }

  public AdamSpec spec() {
    return spec;
  }

  /// First-moment arena, laid out as the parameters.
  public Tensor first() {
    return first;
  }

  /// Second-moment arena, laid out as the parameters.
  public Tensor second() {
    return second;
  }

  /// Updates made so far.
  public long updates() {
    return updates;
  }

  /// Sets the count when a checkpoint is loaded.
  public void restore(long count) {
    updates = count;
  }

  @Override
  public void close() {
    scope.close();
  }
}
