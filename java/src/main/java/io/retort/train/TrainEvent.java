package io.retort.train;

import java.util.SequencedMap;

/// What the loop tells its listeners, on its own thread.
public sealed interface TrainEvent {

  /// A step is done.
  ///
  /// @param step counted from 1: steps completed
  /// @param values log columns `phase/term` and `phase/gradient_norm`, in order; only the phases
  ///   that ran
  /// @param images real or generated images consumed so far
  /// @param seconds duration of this step
  record StepDone(long step, SequencedMap<String, Double> values, long images, double seconds)
      implements TrainEvent {}

  /// The loop has ended: all steps done, or it was asked to stop after `step` of them.
  record Ended(long step, boolean complete) implements TrainEvent {}
}
