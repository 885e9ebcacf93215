package io.retort.train;

import io.retort.diffusion.Preconditioning;
import io.retort.optim.AdamSpec;
import io.retort.optim.AverageSpec;
import io.retort.tensor.DType;
import java.util.Map;

/// What the loop needs beside the method.
///
/// @param seed of every random number
/// @param steps length of the run
/// @param preconditioning of the roles that denoise
/// @param compute type of the activations; weights, statistics and losses are float32
/// @param optimizers by role, for every trainable role
/// @param average of the averaged roles
public record TrainSpec(
    long seed,
    long steps,
    Preconditioning preconditioning,
    DType compute,
    Map<String, AdamSpec> optimizers,
    AverageSpec average) {

  public TrainSpec {
    optimizers = Map.copyOf(optimizers);
    if (steps < 1) {
      throw new IllegalArgumentException("train: steps must be >= 1, got " + steps);
    }
  }
}
