/// Methods of distillation: which networks exist, which phase trains which of them, on what loss.
///
/// Read first: [Method], [Dmd2], [Nets]; [Methods] lists all. Depends on diffusion and below; knows
/// no optimizers, files or logs.
///
/// One method is one file: its numbers with their defaults, its networks, its losses, what to leave
/// out to see its worth ([MethodKind]). Shared formulas are a file per topic. Optimizers, averages,
/// checkpoint names, gradient flow and log columns follow from its roles and phases. A loss is a
/// pure function of networks, a batch and named noise; "no gradient" is visible as `detach()`.
@NullMarked
package io.retort.distill;

import org.jspecify.annotations.NullMarked;
