/// Images in, [io.retort.data.Batch]es out: data sets, their files, and the loader that feeds
/// training.
///
/// Read first: [io.retort.data.Dataset] (what a set is), [io.retort.data.BatchSampler] (which
/// images step k sees), [io.retort.data.BatchLoader] (the same off the training thread). A set is
/// found by its name or its path in [io.retort.data.Datasets].
///
/// Invariants:
/// - Images are 8-bit, channels last: in one array ([io.retort.data.Images]) or decoded when asked
///   for ([io.retort.data.ImageSource]); only a batch holds floats, in `[-1, 1]`.
/// - `java.desktop` is loaded only for pictures that [io.retort.data.Png] does not read.
/// - What step k sees depends on (images, seed, stream, step, batch size, flip) alone, so a resumed
///   run reads exactly what an uninterrupted one would have read.
/// - Every byte from outside is checked against a limit before it is used; what is wrong with a
///   file is one sentence in a [io.retort.data.DataException].
/// - Nothing here knows tensors, networks or devices.
@NullMarked
package io.retort.data;

import org.jspecify.annotations.NullMarked;
