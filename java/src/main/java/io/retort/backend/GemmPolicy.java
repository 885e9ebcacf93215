package io.retort.backend;

import java.util.Locale;

/// Who multiplies matrices on a CUDA device.
public enum GemmPolicy {
  /// Whoever was faster when the shape was first met on this device: see [GemmTable].
  AUTO,
  /// Retort's kernels.
  OWN,
  /// NVIDIA's library; it must be there.
  CUBLAS;

  /// As the command line spells it.
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
