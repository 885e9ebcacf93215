/// Differentiable operations: each declares shape rule, forward, vjp, float64 reference, cost and
/// test cases.
///
/// Read first: [Op], [Backend], [Case]. Depends on tensor.
///
/// One record an op, one file a record. Everything that must hold for every op (parity, gradient
/// checks, benchmarks, the support table) is derived from the declaration. An op reaches the
/// hardware only through [Backend], which groups kernels by family: `backend.norms()`,
/// `backend.convolutions()`, ...
@NullMarked
package io.retort.op;

import org.jspecify.annotations.NullMarked;
