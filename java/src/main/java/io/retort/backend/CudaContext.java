package io.retort.backend;

import io.retort.bindings.cuda.Cublas;
import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaDriver.DeviceAttribute;
import io.retort.bindings.cuda.CudaEmulator;
import io.retort.bindings.cuda.CudaException;
import io.retort.bindings.cuda.CudaImages;
import io.retort.op.UnsupportedOpException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// A device opened for work: its primary context and the one stream on which everything is queued.
///
/// Any thread may use it, one at a time. Nothing waits for the device but [#synchronize].
final class CudaContext implements AutoCloseable {
  private static final boolean SYNCHRONOUS = "1".equals(System.getenv("RETORT_SYNC"));

  /// Most counters a launch can have.
  static final int COUNTERS = 4096;

  private static volatile @Nullable Current current;

  private final CudaDriver driver;
  private final CudaDevice device;
  private final String target;
  private final long context;
  private final long stream;
  private final List<CudaKernel> kernels = new ArrayList<>();
  private final List<Cublas.Plan> products = new ArrayList<>();
  private final CudaStaging staging;
  private final CudaQueue queue;
  private final CudaMemory memory;
  private final CudaFaults faults;
  private final List<Long> permanent = new ArrayList<>();
  private final long counters;
  private @Nullable String lastKernel;

  /// Which context was made current last, and where.
  private record Current(Thread thread, CudaContext context) {}

  private CudaContext(CudaDriver driver, CudaDevice device, String target) {
    this.driver = driver;
    this.device = device;
    this.target = target;
    context = driver.devicePrimaryCtxRetain(device.handle());
    enter();
    stream = driver.streamCreate();
    staging = new CudaStaging(this);
    queue = new CudaQueue(this, staging);
    memory = CudaMemory.fromEnvironment(this);
    faults = new CudaFaults(driver);
    counters = permanent(Integer.BYTES * COUNTERS);
    driver.memsetD8Async(counters, (byte) 0, Integer.BYTES * COUNTERS, stream);
  }

  /// Opens a device.
  ///
  /// @throws UnsupportedOpException if this build has no kernels for it
  static CudaContext open(CudaDriver driver, CudaDevice device) {
    var target = device.target(driver.library());
    if (target.isEmpty()) {
      throw new UnsupportedOpException(
          "every op",
          CudaBackend.NAME,
          "this build has kernels for %s, not for %s; ./retort build compiles all where nvcc is"
              .formatted(String.join(", ", CudaImages.targets()), device));
    }
    if (driver.deviceGetAttribute(DeviceAttribute.MEMORY_POOLS_SUPPORTED, device.handle()) == 0) {
      throw new UnsupportedOpException(
          "every op", CudaBackend.NAME, device + " allocates no memory in the order of a stream");
    }
    return new CudaContext(driver, device, target.get());
  }

  CudaDriver driver() {
    return driver;
  }

  CudaDevice device() {
    return device;
  }

  /// The target whose module images this device loads.
  String target() {
    return target;
  }

  long stream() {
    return stream;
  }

  CudaMemory memory() {
    return memory;
  }

  /// The only way to the stream for kernels, fills and copies.
  CudaQueue queue() {
    return queue;
  }

  /// Copies between the host and the device.
  CudaStaging staging() {
    return staging;
  }

  /// Every kernel of this context at its index; a new one adds itself.
  List<CudaKernel> kernels() {
    return kernels;
  }

  /// Every product that NVIDIA's library has prepared, at its index.
  List<Cublas.Plan> products() {
    return products;
  }

  /// Whether every launch is waited for.
  boolean synchronous() {
    return SYNCHRONOUS;
  }

  /// What kernels report of wrong values; checked by [#synchronize].
  CudaFaults faults() {
    return faults;
  }

  /// Address of device counters (int32) for kernels that let their last block finish: zero whenever
  /// no kernel runs, so a kernel that uses them leaves them zero.
  long counters(long count) {
    if (count > COUNTERS) {
      throw new IllegalStateException(
          "a launch has at most %d counters, got %d".formatted(COUNTERS, count));
    }
    return counters;
  }

  /// Device memory that lives as long as this.
  final long permanent(long bytes) {
    enter();
    long address = driver.memAllocAsync(bytes, stream);
    permanent.add(address);
    return address;
  }

  /// Makes the context current in the calling thread; every entry from outside does this first.
  void enter() {
    Current last = current;
    if (last == null || last.context != this || last.thread != Thread.currentThread()) {
      driver.ctxSetCurrent(context);
      current = new Current(Thread.currentThread(), this);
    }
  }

  /// Waits until everything queued is done, and says what went wrong.
  ///
  /// @throws CudaException if a kernel failed, with the last one launched; `RETORT_SYNC=1` names
  ///   the one at fault
  /// @throws IllegalArgumentException if a kernel found a wrong value
  void synchronize() {
    await();
    faults.check();
  }

  /// [#synchronize] without a look at the values that kernels found wrong.
  void await() {
    queue.flush();
    enter();
    try {
      driver.streamSynchronize(stream);
    } catch (CudaException e) {
      throw explained(e);
    }
  }

  /// An asynchronous failure with what is known of its origin.
  CudaException explained(CudaException e) {
    return e.sticky() && lastKernel != null
        ? e.because(
            "the last kernel launched was %s, RETORT_SYNC=1 names the one at fault"
                .formatted(lastKernel))
        : e;
  }

  /// Told after each launch.
  void launched(String kernel) {
    lastKernel = kernel;
    if (SYNCHRONOUS) {
      try {
        driver.streamSynchronize(stream);
      } catch (CudaException e) {
        throw e.in(kernel);
      }
      faults.check();
    }
  }

  /// SHA-256, for what is recognised by its contents.
  static byte[] sha256(byte[] bytes) {
    try {
      return MessageDigest.getInstance("SHA-256").digest(bytes);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }

  /// Gives memory, stream and context back.
  @Override
  public void close() {
    enter();
    queue.close();
    memory.close();
    staging.close();
    faults.close();
    permanent.forEach(address -> driver.memFreeAsync(address, stream));
    driver.streamDestroy(stream);
    driver.devicePrimaryCtxRelease(device.handle());
  }

  /// The controls of the emulator, if this is no real device.
  Optional<CudaEmulator> emulator() {
    return driver.library().emulator();
  }
}
