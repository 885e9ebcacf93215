/// The peer of Retort's step and op benchmarks: the same network, the same step and the same
/// convolutions in libtorch, through JavaCPP.
///
/// Read first: [TorchStep], [TorchUNet], [TorchConvolutions]. Only the benchmark driver starts
/// this, in processes of its own.
///
/// Invariants: every native tensor of a step belongs to one `PointerScope`; what stays is the
/// weights, the moments and the batch.
@NullMarked
package io.retort.bench.libtorch;

import org.jspecify.annotations.NullMarked;
