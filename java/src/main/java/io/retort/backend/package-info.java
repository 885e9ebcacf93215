/// Backends: the hardware that ops run on, each with its memory and its kernels.
///
/// Read first: [CpuBackend] (the processor, through `libretort_cpu.so`), [CpuMemory] (its pool of
/// blocks), then any kernel family such as [CpuElementwise]. Depends on tensor, op and the
/// bindings; only the command line and the tests choose a backend by class.
///
/// Invariants: one backend of a kind per process; a kernel family checks nothing that its op has
/// checked, except values it would read outside its arrays for; every native failure is an
/// exception that names the call.
@NullMarked
package io.retort.backend;

import org.jspecify.annotations.NullMarked;
