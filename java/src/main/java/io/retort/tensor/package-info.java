/// Shapes, types and memory: what a tensor is, before anything is computed with it.
///
/// Read first: [Tensor], [Scope], [Memory]. Depends on nothing.
///
/// Invariants: a tensor belongs to exactly one [Scope] and dies with it unless moved out by name;
/// views share counted storage with their base; a scope is used by one thread; layout is row-major,
/// images are channels-last `(N, H, W, C)`.
@NullMarked
package io.retort.tensor;

import org.jspecify.annotations.NullMarked;
