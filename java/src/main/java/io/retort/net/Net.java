package io.retort.net;

import io.retort.nn.Plan;

/// Any network: it can declare its parameters. Kinds of networks add how they are applied.
public interface Net {

  /// Declares every parameter, in checkpoint order.
  void declare(Plan plan);

  /// The declared parameters.
  default Plan plan() {
    Plan plan = new Plan();
    declare(plan);
    return plan;
  }
}
