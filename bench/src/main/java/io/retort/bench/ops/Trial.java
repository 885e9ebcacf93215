package io.retort.bench.ops;

import java.util.List;
import java.util.function.Supplier;

/// One call of a [Workload] on a backend.
///
/// @param pass which part: `forward`, `data gradient`
/// @param call queues the work and returns
/// @param flops of one call, a multiply-add counts 2; 0 where bytes alone matter
/// @param bytes that must be moved at least: what is read and what is written, once
/// @param results does the call and reads what it computed
record Trial(
    String pass, Runnable call, double flops, double bytes, Supplier<List<float[]>> results) {}
