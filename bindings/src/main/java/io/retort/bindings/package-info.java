/// What every native provider shares: how a call fails and how a library fails to load.
///
/// Read first: [NativeCallException], [NativeLinkError], then
/// [io.retort.bindings.cpu.NativeLibrary].
///
/// Invariants: nothing here allocates native memory; a failed native call is always an exception
/// that names the call.
@NullMarked
package io.retort.bindings;

import org.jspecify.annotations.NullMarked;
