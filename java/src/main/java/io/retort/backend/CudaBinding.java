package io.retort.backend;

import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaLibrary;
import io.retort.bindings.cuda.PanamaDriver;

/// How Java calls the CUDA driver.
public enum CudaBinding {
  /// The foreign function interface of the JDK.
  PANAMA;

  /// The driver, initialised.
  ///
  /// @throws io.retort.bindings.NativeLinkError if the library is no usable driver
  CudaDriver driver(CudaLibrary library) {
    return switch (this) {
      case PANAMA -> new PanamaDriver(library);
    };
  }
}
