package io.retort.backend;

import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaException;
import io.retort.bindings.cuda.CudaImages;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// The kernels of one file of `cuda/`, loaded for the device.
///
/// A kernel is asked for by its name and its signature, one letter a parameter: `p` pointer, `l`
/// int64, `i` int32, `f` float, `d` double, `kp` random stream (`rt_philox_key`) and where its step
/// lies. The signature is compared with what the module says of the kernel.
final class CudaModule {
  private final CudaContext context;
  private final long module;
  private final String family;

  /// Loads `cuda/<family>.cu` as it was compiled for the context's device.
  ///
  /// @throws CudaException if the driver refuses it; for PTX with the compiler's log
  CudaModule(CudaContext context, String family) {
    this.context = context;
    this.family = family;
    context.enter();
    byte[] bytes = CudaImages.read(context.target(), family);
    try (var arena = Arena.ofConfined()) {
      MemorySegment image = arena.allocateFrom(ValueLayout.JAVA_BYTE, bytes);
      module = context.driver().moduleLoadDataEx(image);
    } catch (CudaException e) {
      throw e.because("kernels of %s for %s".formatted(family, context.target()));
    }
  }

  /// One kernel.
  ///
  /// @throws io.retort.bindings.NativeLinkError if the module has no such kernel or with other
  ///   parameters
  CudaKernel kernel(String name, String signature) {
    return new CudaKernel(context, function(name), name, signature);
  }

  /// One computation for float32 and bfloat16.
  CudaKernels typed(String name, String signature) {
    return CudaKernels.typed(this, name, signature);
  }

  /// One computation for every pair of float32 and bfloat16.
  CudaKernels paired(String name, String signature) {
    return CudaKernels.paired(this, name, signature);
  }

  private long function(String name) {
    CudaDriver driver = context.driver();
    try {
      return driver.moduleGetFunction(module, name);
    } catch (CudaException e) {
      throw e.in(name).because("in the kernels of " + family);
    }
  }
}
