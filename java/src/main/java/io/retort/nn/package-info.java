/// Layers: small records that name their parameters and apply ops to them.
///
/// Read first: [Plan], [Conv], [Dense]. Depends on tensor, op, grad.
///
/// A layer holds structure and names, never weights: the same network is applied to the teacher's,
/// the student's and the averaged [io.retort.grad.Parameters] alike. Whether gradients reach the
/// weights is the tape's business.
@NullMarked
package io.retort.nn;

import org.jspecify.annotations.NullMarked;
