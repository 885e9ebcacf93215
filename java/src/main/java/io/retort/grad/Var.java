package io.retort.grad;

import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;

/// A value on a [Tape]: the tensor, and where its gradient comes from.
public final class Var {
  private final Tape tape;
  private final Tensor value;
  private final int node;

  Var(Tape tape, Tensor value, int node) {
    this.tape = tape;
    this.value = value;
    this.node = node;
  }

  public Tape tape() {
    return tape;
  }

  public Tensor value() {
    return value;
  }

  public Shape shape() {
    return value.shape();
  }

  /// Index on the tape, or -1 for a constant.
  int node() {
    return node;
  }

  /// Whether a gradient will flow here.
  public boolean tracked() {
    return node >= 0;
  }

  /// The same value with the gradient stopped.
  public Var detach() {
    return new Var(tape, value, -1);
  }

  /// The value of a scalar.
  public float item() {
    return value.item();
  }
}
