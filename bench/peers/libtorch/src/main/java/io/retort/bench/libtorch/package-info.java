/// The peer of Retort's step benchmark: the same network and the same step in libtorch, through
/// JavaCPP.
///
/// Read first: [TorchStep], [TorchUNet]. Only the benchmark driver starts this, in processes of its
/// own.
///
/// Invariants: every native tensor of a step belongs to one `PointerScope`; what stays is the
/// weights, the moments and the batch.
@NullMarked
package io.retort.bench.libtorch;

import org.jspecify.annotations.NullMarked;
