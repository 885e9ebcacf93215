/// The CUDA driver through JCuda, for those who have it in their program already.
///
/// Read first: [JCudaDriver], [JCublas]. This is the only package that sees `jcuda.*`. Depends on
/// `io.retort.bindings.cuda`.
///
/// Invariants: JCuda's native library is unpacked by us to a private directory, never by JCuda to a
/// shared one; handle objects never live longer than a call that may fail, because JCuda overwrites
/// them with garbage when it does.
@NullMarked
package io.retort.bindings.jcuda;

import org.jspecify.annotations.NullMarked;
