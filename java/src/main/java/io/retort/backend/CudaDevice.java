package io.retort.backend;

import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaDriver.DeviceAttribute;
import io.retort.bindings.cuda.CudaImages;
import io.retort.bindings.cuda.CudaLibrary;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/// What a CUDA device is.
///
/// @param handle the driver's number for it
/// @param major first part of its compute capability
/// @param sharedBytes most shared memory a block can ask for
public record CudaDevice(
    int handle,
    String name,
    int major,
    int minor,
    int multiprocessors,
    int sharedBytes,
    long memoryBytes) {

  /// Every device the driver shows, in its order; `CUDA_VISIBLE_DEVICES` is how a user limits it.
  public static List<CudaDevice> list(CudaDriver driver) {
    return IntStream.range(0, driver.deviceGetCount())
        .mapToObj(ordinal -> of(driver, driver.deviceGet(ordinal)))
        .toList();
  }

  private static CudaDevice of(CudaDriver driver, int handle) {
    return new CudaDevice(
        handle,
        driver.deviceGetName(handle),
        driver.deviceGetAttribute(DeviceAttribute.COMPUTE_CAPABILITY_MAJOR, handle),
        driver.deviceGetAttribute(DeviceAttribute.COMPUTE_CAPABILITY_MINOR, handle),
        driver.deviceGetAttribute(DeviceAttribute.MULTIPROCESSOR_COUNT, handle),
        driver.deviceGetAttribute(DeviceAttribute.SHARED_BYTES_PER_BLOCK, handle),
        driver.deviceTotalMem(handle));
  }

  /// Which of the compiled kernels this device runs, if any.
  public Optional<String> target(CudaLibrary library) {
    return library.emulator().isPresent()
        ? Optional.of(CudaLibrary.EMULATOR)
        : CudaImages.target(major, minor);
  }

  @Override
  public String toString() {
    return "%s (compute capability %d.%d, %d multiprocessors, %.1f GB)"
        .formatted(name, major, minor, multiprocessors, memoryBytes / 1e9);
  }
}
