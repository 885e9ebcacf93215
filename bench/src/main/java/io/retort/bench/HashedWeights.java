package io.retort.bench;

import io.retort.grad.Parameter;
import io.retort.grad.Parameters;
import io.retort.net.Net;
import io.retort.tensor.Memory;
import io.retort.tensor.Scope;

/// Weights of a network from the hash of [StepSpec#parameter], the same in every engine.
final class HashedWeights {
  private HashedWeights() {}

  /// All parameters, owned by the caller.
  ///
  /// @param first the hash's stream of the first
  static Parameters of(Net net, int first, Memory memory) {
    return filled(net.plan().allocate(memory), first);
  }

  /// The same inside a scope.
  static Parameters of(Net net, int first, Scope scope) {
    return filled(new Parameters(scope, net.plan().shapes()), first);
  }

  private static Parameters filled(Parameters parameters, int first) {
    int index = first;
    for (Parameter parameter : parameters.all()) {
      boolean norm = parameter.name().matches(".*norm[0-9]*\\.weight");
      parameter.value().set(StepSpec.parameter(index++, norm, parameter.shape().dims()));
    }
    return parameters;
  }
}
