package io.retort.distill;

import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.tensor.Scope;
import io.retort.tensor.Tensor;
import java.util.Set;

/// How long the gradient of a term is at given images, to weigh terms against one another.
final class Calibration {

  private Calibration() {}

  /// A term of a loss as a function of images.
  @FunctionalInterface
  interface Term {
    Var at(Nets nets, Var images);
  }

  /// Euclidean norm of the term's gradient with respect to the images x.
  static double gradientNorm(Nets nets, Var x, Term term) {
    try (Scope scope = new Scope(nets.tape().backend().memory())) {
      Tensor sink = scope.zeros(x.shape(), x.value().dtype());
      Tape tape = new Tape(nets.tape().backend(), scope, Set.of());
      Var images = tape.tracked(x.value(), sink);
      tape.backward(term.at(nets.on(tape), images));
      double squares = 0;
      for (float g : sink.floats()) {
        squares += (double) g * g;
      }
      return Math.sqrt(squares);
    }
  }
}
