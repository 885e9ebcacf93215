package io.retort.distill;

import io.retort.diffusion.Preconditioning;

/// The numbers of a method that trains a teacher from nothing: they say how its network becomes a
/// denoiser.
public interface TeacherTraining {

  /// What the network is trained to be asked.
  Preconditioning preconditioning();
}
