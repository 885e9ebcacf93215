package io.retort.cli;

import io.retort.backend.CudaBinding;
import io.retort.backend.CudaDevice;
import io.retort.bindings.NativeLinkError;
import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaException;
import io.retort.bindings.cuda.CudaImages;
import io.retort.bindings.cuda.CudaLibrary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/// What there is of CUDA on this machine: driver, devices, kernels for them, NVIDIA's libraries.
final class CudaFindings {
  private static final Path DRIVER_VERSION = Path.of("/proc/driver/nvidia/version");

  /// Where a loader or an installer puts libraries, after what the environment says.
  private static final List<String> FOLDERS =
      List.of(
          "/usr/lib/x86_64-linux-gnu",
          "/usr/lib64",
          "/usr/lib",
          "/usr/local/cuda/lib64",
          "/usr/local/cuda/targets/x86_64-linux/lib");

  private CudaFindings() {}

  /// One line for the driver, each device and each library.
  ///
  /// @param library a path, `emulator`, or null for the driver that the loader finds
  static List<Finding> of(CudaBinding binding, @Nullable String library) {
    var findings = new ArrayList<Finding>();
    try {
      CudaLibrary opened = CudaLibrary.open(library);
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
    findings.add(library("cuBLAS", "libcublasLt.so.13", "libcublasLt.so.12"));
    findings.add(library("cuDNN", "libcudnn.so.9"));
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

  private static Finding library(String what, String... names) {
    return folders()
        .flatMap(folder -> Stream.of(names).map(folder::resolve))
        .filter(Files::exists)
        .findFirst()
        .map(file -> Finding.good(what, file.toString()))
        .orElseGet(() -> Finding.absent(what, "not found; Retort's own kernels need no " + what));
  }

  private static Stream<Path> folders() {
    Stream<String> loader =
        Stream.of(System.getenv().getOrDefault("LD_LIBRARY_PATH", "").split(":"));
    Stream<String> toolkit =
        Stream.of("CUDA_HOME", "CUDA_PATH")
            .map(System::getenv)
            .filter(Objects::nonNull)
            .map(home -> home + "/lib64");
    return Stream.of(loader, toolkit, FOLDERS.stream())
        .flatMap(folders -> folders)
        .filter(folder -> !folder.isEmpty())
        .map(Path::of);
  }
}
