/// Networks: structure and parameter names; weights come from outside at every call.
///
/// Read first: [DiffusionNet], [SongUNet], [DiT]. Depends on nn and below.
///
/// Invariants: a network is immutable and holds no weights; parameter names and order are those of
/// the ecosystem's checkpoints; images are `(N, H, W, C)`.
@NullMarked
package io.retort.net;

import org.jspecify.annotations.NullMarked;
