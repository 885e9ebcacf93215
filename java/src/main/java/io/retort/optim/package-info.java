/// Optimizers and weight averages over flat arenas.
///
/// Read first: [Adam], [AdamSpec], [AverageSpec]. Depends on grad and below.
@NullMarked
package io.retort.optim;

import org.jspecify.annotations.NullMarked;
