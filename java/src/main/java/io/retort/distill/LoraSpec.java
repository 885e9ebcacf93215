package io.retort.distill;

import io.retort.net.DiffusionNet;
import io.retort.net.Lora;

/// A role as low-rank adapters of another one.
///
/// @param rank of the adapters, 0 for a whole network instead
/// @param alpha their scale times the rank
/// @param layers which weights they are put on
public record LoraSpec(int rank, double alpha, Lora.Layers layers) {

  /// No adapters.
  static final LoraSpec OFF = new LoraSpec(0, 32, Lora.Layers.ALL);

  public LoraSpec {
    Checks.require(rank >= 0 && rank <= 4096, "rank must be from 0 (none) to 4096, got " + rank);
    Checks.require(alpha > 0, "alpha must be above 0, got " + alpha);
  }

  boolean on() {
    return rank > 0;
  }

  /// A role that begins as the teacher: a copy of it, or adapters.
  Method.Role of(String name, DiffusionNet network, AdamSpec optimizer, boolean averaged) {
    return on()
        ? Method.Role.adapting(
            Method.TEACHER, name, new Lora(network, rank, alpha, layers), optimizer, averaged)
        : Method.Role.copied(name, network, optimizer, averaged);
  }
}
