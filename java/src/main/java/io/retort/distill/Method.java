package io.retort.distill;

import io.retort.data.Batch;
import io.retort.grad.Var;
import io.retort.net.Net;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;

/// A distillation method (or plain training): its networks and its phases.
public interface Method {

  /// Name as recipes spell it.
  String name();

  List<Role> roles();

  /// In the order they run within a step.
  List<Phase> phases();

  /// Images one step consumes; the loader makes batches of this size.
  int batch();

  /// Numbers found once, before the first step, from the initial networks; they are kept with the
  /// run, so that resuming equals never having stopped. Empty for most methods.
  default Map<String, Double> calibrate(Nets nets, Batch batch, Noise noise) {
    return Map.of();
  }

  /// A network of the method.
  ///
  /// @param net its structure
  /// @param trainable false: frozen for the whole run
  /// @param init name of the source of its first weights, empty to draw them from the network's
  ///   initial laws
  /// @param averaged whether a running average of its weights is kept, and used for everything but
  ///   training
  record Role(String name, Net net, boolean trainable, Optional<String> init, boolean averaged) {}

  /// A part of a step: runs when `step % every == 0`, minimises `loss` over the networks in
  /// `trains`.
  record Phase(String name, int every, Set<String> trains, Loss loss) {
    public Phase {
      trains = Set.copyOf(trains);
      if (every < 1) {
        throw new IllegalArgumentException("phase " + name + ": every must be >= 1, got " + every);
      }
    }

    public boolean runsAt(long step) {
      return step % every == 0;
    }
  }

  /// A pure function of networks, a batch and noise.
  @FunctionalInterface
  interface Loss {
    Terms compute(Nets nets, Batch batch, Noise noise);
  }

  /// What is minimised, and its named parts in log order (scalars, before weighting).
  record Terms(Var total, SequencedMap<String, Var> parts) {}
}
