/// The CPU library: finding, unpacking, loading and binding `libretort_cpu.so`, and one class of
/// typed static methods per family of native operations.
///
/// Read first: [NativeLibrary] (how a function is bound and its status checked), [Cpu] (which build
/// of the library fits this machine), then any operation class.
///
/// Invariants: handles are `static final` and called with `invokeExact`; pointers are raw addresses
/// whose owner is the caller; a Java signature that differs from the library's own table is an
/// error at class initialisation. Functions may be called from any thread, each calling thread gets
/// its own OpenMP team.
@NullMarked
package io.retort.bindings.cpu;

import org.jspecify.annotations.NullMarked;
