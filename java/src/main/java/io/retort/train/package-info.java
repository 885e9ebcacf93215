/// The training loop: steps, optimizers, averages, events. Knows methods, not files.
///
/// Read first: [Trainer], [RoleState], [TrainEvent]. Depends on distill, optim and below.
///
/// Invariants: one thread runs the loop; a step is a pure function of (state, seed, step, batch),
/// so a resumed run equals one that never stopped; the loop only emits events, whoever saves or
/// draws listens.
@NullMarked
package io.retort.train;

import org.jspecify.annotations.NullMarked;
