package io.retort.backend;

import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaLibrary;
import io.retort.bindings.cuda.PanamaDriver;
import io.retort.bindings.jcuda.JCudaDriver;

/// How Java calls the CUDA driver.
public enum CudaBinding {
  /// The foreign function interface of the JDK.
  PANAMA,
  /// JCuda, for programs that have it anyway.
  JCUDA;

  /// The driver, initialised.
  ///
  /// @throws io.retort.bindings.NativeLinkError if the library is no usable driver
  public CudaDriver driver(CudaLibrary library) {
    return switch (this) {
      case PANAMA -> PanamaDriver.open(library);
      case JCUDA -> JCudaDriver.open(library);
    };
  }
}
