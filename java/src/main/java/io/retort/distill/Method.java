package io.retort.distill;

import io.retort.data.Batch;
import io.retort.grad.Var;
import io.retort.net.Lora;
import io.retort.net.Net;
import io.retort.tensor.PhiloxKey;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.Predicate;

/// A distillation method (or plain training): its networks and its phases.
///
/// [MethodKind] says how a recipe names one and with which numbers; [Methods] lists all of them.
public interface Method {

  /// The role that is distilled, and the source of first weights in [Role#init].
  String TEACHER = "teacher";

  /// The role that a distillation is for.
  String STUDENT = "student";

  /// The role that denoises what the student makes.
  String CRITIC = "critic";

  /// Name as recipes spell it.
  String name();

  List<Role> roles();

  /// In the order they run within a step.
  List<Phase> phases();

  /// Images one step consumes; the loader makes batches of this size.
  int batch();

  /// How many images of the set the method is given, the first ones; 0 for all.
  default int shots() {
    return 0;
  }

  /// Numbers found once, before the first step, from the initial networks; they are kept with the
  /// run, so that resuming equals never having stopped. Empty for most methods.
  default Map<String, Double> calibrate(Nets nets, Batch batch, Noise noise) {
    return Map.of();
  }

  /// Weights that move towards other weights after the phases of a step. Empty for most methods.
  default List<Blend> blends(long step) {
    return List.of();
  }

  /// Weights that begin anew after the phases of a step, what their optimizer knows too. Empty for
  /// most methods.
  ///
  /// @param noise of the step, apart from that of its phases
  default List<Redraw> redraws(Noise noise) {
    return List.of();
  }

  /// The samples of the teacher that the method learns from; they are made once per teacher. Empty
  /// for most methods.
  default Optional<Pairs> pairs() {
    return Optional.empty();
  }

  /// Samples of the teacher along its probability-flow ODE.
  ///
  /// @param count how many are made
  /// @param steps Heun steps of each
  /// @param batch how many a step sees
  record Pairs(int count, int steps, int batch) {}

  /// A network of the method.
  ///
  /// @param net its structure
  /// @param optimizer how it learns, empty: frozen for the whole run, but for [#blends]
  /// @param init name of the source of its first weights, empty to draw them from the network's
  ///   initial laws
  /// @param averaged whether a running average of its weights is kept, and used for everything but
  ///   training
  /// @param fixed names of the weights that stay as they are while the others learn; nothing may
  ///   decay then
  /// @param adapts the role whose weights are adapted, where the net is a [Lora]
  record Role(
      String name,
      Net net,
      Optional<AdamSpec> optimizer,
      Optional<String> init,
      boolean averaged,
      Predicate<String> fixed,
      Optional<String> adapts) {
    private static final Predicate<String> NONE = name -> false;

    /// A copy of the teacher that no phase trains.
    public static Role frozen(String name, Net net) {
      return new Role(
          name, net, Optional.empty(), Optional.of(TEACHER), false, NONE, Optional.empty());
    }

    /// A network that begins at random and only moves with [#blends].
    public static Role following(String name, Net net) {
      return new Role(name, net, Optional.empty(), Optional.empty(), false, NONE, Optional.empty());
    }

    /// A network that begins as the teacher.
    public static Role copied(String name, Net net, AdamSpec optimizer, boolean averaged) {
      return new Role(
          name,
          net,
          Optional.of(optimizer),
          Optional.of(TEACHER),
          averaged,
          NONE,
          Optional.empty());
    }

    /// A network that begins at random.
    public static Role drawn(String name, Net net, AdamSpec optimizer, boolean averaged) {
      return new Role(
          name, net, Optional.of(optimizer), Optional.empty(), averaged, NONE, Optional.empty());
    }

    /// Adapters of another role, which begins unchanged and is never trained through them.
    public static Role adapting(
        String of, String name, Lora net, AdamSpec optimizer, boolean averaged) {
      return new Role(
          name, net, Optional.of(optimizer), Optional.empty(), averaged, NONE, Optional.of(of));
    }

    /// The same role with weights that stay as they are.
    public Role fixing(Predicate<String> names) {
      if (optimizer.isPresent() && optimizer.get().decay() > 0) {
        throw new IllegalArgumentException(
            "%s.decay must be 0 where some of its weights stay as they are".formatted(name));
      }
      return new Role(name, net, optimizer, init, averaged, names, adapts);
    }

    public boolean trainable() {
      return optimizer.isPresent();
    }
  }

  /// A part of a step: runs when `step % every == 0`, minimises `loss` over the networks in
  /// `trains`.
  ///
  /// @param from the first step it may run at
  /// @param until the first step it may not run at any more
  record Phase(String name, int every, long from, long until, Set<String> trains, Loss loss) {
    public Phase {
      trains = Set.copyOf(trains);
      if (every < 1) {
        throw new IllegalArgumentException("phase " + name + ": every must be >= 1, got " + every);
      }
    }

    public Phase(String name, int every, long from, Set<String> trains, Loss loss) {
      this(name, every, from, Long.MAX_VALUE, trains, loss);
    }

    public Phase(String name, int every, Set<String> trains, Loss loss) {
      this(name, every, 0, trains, loss);
    }

    public boolean runsAt(long step) {
      return step >= from && step < until && step % every == 0;
    }
  }

  /// `role = keep role + (1 - keep) toward`, weight by weight.
  ///
  /// @param role the weights that move
  /// @param toward a role of the same structure
  record Blend(String role, String toward, double keep) {
    public Blend {
      if (!(keep >= 0) || !(keep <= 1)) {
        throw new IllegalArgumentException("blend: keep must be in [0, 1], got " + keep);
      }
    }
  }

  /// Weights of a role that are drawn again from its network's initial laws.
  ///
  /// @param names which of them
  /// @param key of the numbers they are drawn with
  record Redraw(String role, Predicate<String> names, PhiloxKey key) {}

  /// A pure function of networks, a batch and noise.
  @FunctionalInterface
  interface Loss {
    Terms compute(Nets nets, Batch batch, Noise noise);
  }

  /// What is minimised, and its named parts in log order (scalars, before weighting).
  record Terms(Var total, SequencedMap<String, Var> parts) {}
}
