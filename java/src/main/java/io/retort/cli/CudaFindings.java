package io.retort.cli;

import io.retort.backend.CudaBinding;
import io.retort.backend.CudaDevice;
import io.retort.bindings.NativeLinkError;
import io.retort.bindings.cuda.CublasLt;
import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaException;
import io.retort.bindings.cuda.CudaImages;
import io.retort.bindings.cuda.CudaLibrary;
import io.retort.bindings.cuda.Cudnn;
import io.retort.bindings.cuda.VendorLibrary;
import io.retort.bindings.cuda.VendorLibrary.Kind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/// What there is of CUDA on this machine: driver, devices, kernels for them, NVIDIA's libraries.
final class CudaFindings {
  private static final Path DRIVER_VERSION = Path.of("/proc/driver/nvidia/version");

  private CudaFindings() {}

  /// One line for the driver, each device and each library.
  ///
  /// @param library a path, `emulator`, or null for the driver that the loader finds
  static List<Finding> of(CudaBinding binding, @Nullable String library) {
    var findings = new ArrayList<Finding>();
    @Nullable CudaLibrary opened = null;
    try {
      opened = CudaLibrary.open(library);
      CudaDriver driver = binding.driver(opened);
      findings.add(driver(driver));
      List<CudaDevice> devices = CudaDevice.list(driver);
      for (int i = 0; i < devices.size(); i++) {
        findings.add(device("CUDA " + i, devices.get(i), opened));
      }
    } catch (NativeLinkError | CudaException e) {
      String reason = String.valueOf(e.getMessage());
      boolean expected = library == null && e instanceof NativeLinkError;
      findings.add(expected ? Finding.absent("CUDA", reason) : Finding.broken("CUDA", reason));
    }
    findings.add(
        library("cuBLAS", binding == CudaBinding.JCUDA ? Kind.CUBLAS : Kind.CUBLAS_LT, opened));
    findings.add(library("cuDNN", Kind.CUDNN, opened));
    return findings;
  }

  private static Finding driver(CudaDriver driver) {
    int version = driver.driverGetVersion();
    return Finding.good(
        "CUDA",
        "driver for CUDA %d.%d (%s, %s), called through %s"
            .formatted(
                version / 1000,
                version % 1000 / 10,
                driver.library().name(),
                driver.library().emulator().isPresent() ? "no real one" : kernelModule(),
                driver.binding()));
  }

  private static String kernelModule() {
    try (Stream<String> lines = Files.lines(DRIVER_VERSION)) {
      return lines.findFirst().orElse("of unknown version").replaceAll("\\s+", " ");
    } catch (IOException e) {
      return "of unknown version";
    }
  }

  private static Finding device(String what, CudaDevice device, CudaLibrary library) {
    Optional<String> target = device.target(library);
    return target.isPresent()
        ? Finding.good(what, "%s, runs the kernels for %s".formatted(device, target.get()))
        : Finding.broken(
            what,
            "%s, but this build has kernels for %s only"
                .formatted(device, String.join(", ", CudaImages.targets())));
  }

  /// A library beside the driver, and what is made of it.
  ///
  /// @param driver that it would work on, null if there is none
  private static Finding library(String what, Kind kind, @Nullable CudaLibrary driver) {
    try {
      Optional<VendorLibrary> found =
          driver == null
              ? VendorLibrary.find(kind, System.getenv())
              : VendorLibrary.beside(driver, kind);
      return found
          .map(library -> Finding.good(what, described(kind, library)))
          .orElseGet(() ->
              Finding.absent(what, "no %s was found; Retort needs none".formatted(kind.title())));
    } catch (NativeLinkError e) {
      return Finding.broken(what, String.valueOf(e.getMessage()));
    }
  }

  private static String described(Kind kind, VendorLibrary library) {
    return switch (kind) {
      case CUBLAS_LT -> "%s (%s)".formatted(CublasLt.version(library), library);
      case CUBLAS -> "%s (%s)".formatted(kind.title(), library);
      case CUDNN -> Cudnn.of(library) + "; convolutions are Retort's own";
    };
  }
}
