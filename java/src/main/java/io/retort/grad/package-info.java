/// Reverse-mode differentiation: a tape of ops, tracked values, and named parameters in flat
/// arenas.
///
/// Read first: [Tape], [Var], [Parameters]. Depends on tensor and op.
///
/// Invariants: one tape serves one thread and one scope; one walker accumulates every gradient;
/// which parameters receive gradients is decided when the tape is made, so a frozen network costs
/// no weight gradients.
@NullMarked
package io.retort.grad;

import org.jspecify.annotations.NullMarked;
