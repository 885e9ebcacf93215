/// Ops at sizes that matter, timed on a device by its own clock.
///
/// Read first: [OpBench], [Workload], [Workloads].
///
/// Invariants: inputs are random and non-zero; nothing is timed before its results agree with the
/// CPU's; a row of the emulator says that it is no timing.
@NullMarked
package io.retort.bench.ops;

import org.jspecify.annotations.NullMarked;
