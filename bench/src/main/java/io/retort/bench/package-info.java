/// Benchmarks: JMH for what a single call costs, step benchmarks for images per second.
///
/// Read first: [StepBench], [StepWorker], [CallOverheadBenchmark].
///
/// Invariants: inputs are random and non-zero; a result is appended, never edited.
@NullMarked
package io.retort.bench;

import org.jspecify.annotations.NullMarked;
