/// Backends: the hardware that ops run on, each with its memory and its kernels.
///
/// Read first: [CpuBackend] (the processor, through `libretort_cpu.so`), [CudaBackend] (a CUDA
/// device or its emulator, through the driver), [BlockPool] (the pool of blocks both draw from),
/// then a kernel family on both: [CpuElementwise], [CudaElementwise]. For CUDA, [CudaContext] is
/// the device with its stream, [CudaKernel] a launch, [CudaQueue] what becomes of launches: at
/// once, or collected ([CudaWork]) and started as a graph ([CudaGraphs]); [GemmChooser] may give a
/// product of [CudaGemm] to NVIDIA's library. Depends on tensor, op and the bindings; only the
/// command line and the tests choose a backend by class.
///
/// Invariants: one backend of a kind per process; a kernel family checks nothing that its op has
/// checked, except values it would read outside its arrays for; every native failure is an
/// exception that names the call. CUDA work is queued on one stream in the order of the calls, and
/// only reading waits for it.
@NullMarked
package io.retort.backend;

import org.jspecify.annotations.NullMarked;
