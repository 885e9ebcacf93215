package io.retort.report;

import io.retort.backend.CudaBackend;
import io.retort.op.Backend;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/// Who multiplied matrices in a run, where that was chosen by measurement: a resumed run has to
/// choose the same, or its last bits differ.
final class RunProducts {
  private RunProducts() {}

  /// Writes the choices made so far; nothing where there were none.
  static void save(RunDirectory directory, Backend backend) {
    if (backend instanceof CudaBackend cuda) {
      cuda.productTable().ifPresent(table -> directory.write(RunDirectory.PRODUCTS, table));
    }
  }

  /// Takes the choices of the run over.
  ///
  /// @return what to tell the user if that is not possible
  static Optional<String> restore(RunDirectory directory, Backend backend) {
    Path file = directory.file(RunDirectory.PRODUCTS);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    try {
      if (backend instanceof CudaBackend cuda && cuda.adoptProducts(Files.readString(file))) {
        return Optional.empty();
      }
      return Optional.of(
          "%s is not for this device, library and kernels, or --cuda-gemm says otherwise: results will not be the same to the last bit"
              .formatted(file));
    } catch (IOException failure) {
      throw new RunException(directory.path(), "has a %s that cannot be read".formatted(file));
    }
  }
}
