package io.retort.train;

import io.retort.diffusion.Preconditioning;
import io.retort.optim.AverageSpec;
import io.retort.tensor.DType;

/// What the loop needs beside the method.
///
/// @param seed of every random number
/// @param steps length of the run
/// @param preconditioning of the roles that denoise
/// @param compute type of the activations; weights, statistics and losses are float32
/// @param average of the averaged roles
public record TrainSpec(
    long seed, long steps, Preconditioning preconditioning, DType compute, AverageSpec average) {

  public TrainSpec {
    if (steps < 1) {
      throw new IllegalArgumentException("train: steps must be >= 1, got " + steps);
    }
  }
}
