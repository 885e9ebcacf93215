/// The CUDA driver from Java: which library, one interface of its calls, the compiled kernels.
///
/// Read first: [CudaDriver] (every call that Retort makes), [CudaLibrary] (which `libcuda.so.1`
/// answers), [PanamaDriver] (the calls through the foreign function interface). The second
/// provider, JCuda, lives in `io.retort.bindings.jcuda`. What NVIDIA has beside the driver and a
/// machine may lack: [VendorLibrary] finds it, [Cublas] multiplies, [Cudnn] is only looked at.
///
/// Invariants: one driver library a process, chosen before the first call; handles and addresses
/// are `long` and trusted; nothing is called on the legacy default stream; a status other than
/// success is a [CudaException] that names the call. The library must have every function that is
/// bound, which is checked when the provider is made, not at the first call.
@NullMarked
package io.retort.bindings.cuda;

import org.jspecify.annotations.NullMarked;
