/// Optimizers and weight averages over flat arenas.
///
/// Read first: [Adam], [AverageSpec]. Depends on grad and below, and on the numbers that methods
/// declare.
@NullMarked
package io.retort.optim;

import org.jspecify.annotations.NullMarked;
