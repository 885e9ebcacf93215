package io.retort.bench.ops;

import io.retort.backend.CudaBackend;
import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaDriver.DeviceAttribute;
import io.retort.op.Backend;
import io.retort.tensor.DType;
import io.retort.tensor.Memory;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/// What the machine could do: the least time a call can take.
///
/// Memory is measured, by copying on the device, a byte read and a byte written counting two.
/// Products are computed from multiprocessors, clock and what a multiprocessor of this architecture
/// does in a cycle, float32 on tensor cores at three products a product; unknown architectures have
/// no such ceiling.
///
/// @param bytesPerSecond of a large copy
/// @param float32 products and sums a second
/// @param bfloat16 the same with float32 sums
record Roofline(double bytesPerSecond, OptionalDouble float32, OptionalDouble bfloat16) {
  private static final int COPIES = 10;

  /// A time and what it is bound by.
  record Bound(double microseconds, String by) {}

  /// @param driver of a CUDA backend
  /// @param bytes to copy: far more than the caches hold
  static Roofline measure(Backend backend, Optional<CudaDriver> driver, long bytes) {
    double copied = copy(backend, bytes);
    if (!(backend instanceof CudaBackend cuda) || cuda.emulator().isPresent()) {
      return new Roofline(copied, OptionalDouble.empty(), OptionalDouble.empty());
    }
    int handle = cuda.device().handle();
    double cycles =
        1e3
            * driver.orElseThrow().deviceGetAttribute(DeviceAttribute.CLOCK_KILOHERTZ, handle)
            * cuda.device().multiprocessors();
    int tensor = tensorFlops(10 * cuda.device().major() + cuda.device().minor());
    if (tensor == 0) {
      return new Roofline(copied, OptionalDouble.empty(), OptionalDouble.empty());
    }
    int scalar = cuda.device().major() == 8 && cuda.device().minor() == 0 ? 128 : 256;
    double float32 = Math.max(scalar, tensor / 2.0 / 3);
    return new Roofline(
        copied, OptionalDouble.of(float32 * cycles), OptionalDouble.of(tensor * cycles));
  }

  /// Dense bfloat16 products and float32 sums of a multiprocessor in a cycle; 0 if unknown.
  private static int tensorFlops(int capability) {
    return switch (capability) {
      case 80 -> 2048;
      case 86, 87, 89, 120, 121 -> 512;
      case 90 -> 4096;
      case 100, 103 -> 8192;
      default -> 0;
    };
  }

  private static double copy(Backend backend, long bytes) {
    Memory memory = backend.memory();
    List<Double> times = new ArrayList<>();
    try (var scope = new Scope(memory);
        var watch = Stopwatch.of(backend)) {
      Tensor from = scope.zeros(Shape.of(bytes / Float.BYTES), DType.F32);
      Tensor to = scope.zeros(from.shape(), DType.F32);
      for (int i = 0; i < COPIES; i++) {
        watch.start();
        to.copyFrom(from);
        watch.stop();
        times.add(watch.microseconds());
      }
      Collections.sort(times);
      return 2e6 * from.bytes() / times.get(COPIES / 2);
    }
  }

  /// The larger of the times that bytes and products take.
  Bound bound(Trial trial, DType precision) {
    double memory = 1e6 * trial.bytes() / bytesPerSecond;
    OptionalDouble flops = precision == DType.BF16 ? bfloat16 : float32;
    double products =
        flops.isPresent() && trial.flops() > 0 ? 1e6 * trial.flops() / flops.getAsDouble() : 0;
    return products > memory ? new Bound(products, "products") : new Bound(memory, "bytes");
  }
}
