package io.retort.net;

import io.retort.grad.Parameters;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.nn.Dense;
import io.retort.nn.Plan;

/// `second(silu(first(x)))`: what turns features of a timestep into the embedding of a network.
///
/// @param first name of the first linear layer
/// @param second name of the second
/// @param in length of the features
/// @param out length of the embedding
record TimestepMlp(String first, String second, int in, int out) {

  /// With diffusers' names.
  static TimestepMlp diffusers(String name, int in, int out) {
    return new TimestepMlp(name + ".linear_1", name + ".linear_2", in, out);
  }

  void declare(Plan plan) {
    layer1().declare(plan);
    layer2().declare(plan);
  }

  /// Features `(N, in)` to `(N, out)`.
  Var apply(Tape tape, Parameters parameters, Var features) {
    return layer2().apply(tape, parameters, layer1().apply(tape, parameters, features).silu());
  }

  private Dense layer1() {
    return Dense.plain(first, in, out);
  }

  private Dense layer2() {
    return Dense.plain(second, out, out);
  }
}
