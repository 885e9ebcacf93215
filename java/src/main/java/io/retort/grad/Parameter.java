package io.retort.grad;

import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// A named weight: a view into its [Parameters]' flat value and gradient arenas.
public final class Parameter {
  private final Parameters owner;
  private final String name;
  private final Tensor value;
  private final long offset;
  private @Nullable Tensor gradient;
  private long touched = -1; // by which of the owner's zeroings its gradient was last added to

  Parameter(Parameters owner, String name, Tensor value, long offset) {
    this.owner = owner;
    this.name = name;
    this.value = value;
    this.offset = offset;
  }

  public Parameters owner() {
    return owner;
  }

  /// Dotted name as in a checkpoint, e.g. `model.enc.32x32_block0.conv0.weight`.
  public String name() {
    return name;
  }

  public Shape shape() {
    return value.shape();
  }

  public Tensor value() {
    return value;
  }

  /// Where it begins in the arenas of its network, and in others of their layout.
  public long offset() {
    return offset;
  }

  /// Where gradients accumulate; zero it with [Parameters#zeroGradients].
  public Tensor gradient() {
    Tensor made = gradient;
    if (made == null) {
      made = owner.gradient(value.shape(), offset);
      gradient = made;
    }
    return made;
  }

  /// Whether nothing was added to the gradient since it was zeroed.
  boolean untouched() {
    return touched != owner.zeroings();
  }

  void touched() {
    touched = owner.zeroings();
  }
}
