package io.retort.grad;

import io.retort.op.Op;
import io.retort.tensor.Tensor;
import java.util.List;

/// Sees every op that runs on a [Tape]: a network's computation as data.
@FunctionalInterface
public interface TapeObserver {

  /// `op` has run; tensors are told apart by identity, and a weight's is its parameter's value.
  void applied(Op op, List<Tensor> inputs, Tensor output);
}
