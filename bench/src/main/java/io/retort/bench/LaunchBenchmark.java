package io.retort.bench;

import io.retort.backend.CudaBinding;
import io.retort.backend.CudaDevice;
import io.retort.bindings.cpu.NativeLibrary;
import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaImages;
import io.retort.bindings.cuda.CudaLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.concurrent.TimeUnit;
import jcuda.Pointer;
import jcuda.driver.CUfunction;
import jcuda.driver.CUmodule;
import jcuda.driver.JCudaDriver;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/// What the host pays to launch a kernel of five arguments, on a driver that does nothing with it.
///
/// With `-p library=driver` it is the system's, and a device does get the launches, with no element
/// to compute: what is timed then is the slower of host and device.
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 10, time = 200, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 300, time = 5, timeUnit = TimeUnit.MILLISECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class LaunchBenchmark {
  private static final MethodHandle THREADS = NativeLibrary.bind("rt_threads", "p");
  private static final String KERNEL = "rt_affine_f32";

  /// Where the kernel `(const float* x, float scale, float shift, float* out, int64 n)` expects its
  /// arguments.
  private static final long[] OFFSETS = {0, 8, 12, 16, 24};

  /// A prepared launch through one of the bindings.
  @State(Scope.Thread)
  @SuppressWarnings("NullAway.Init") // JMH fills them
  public static class Prepared {
    @Param({"PANAMA", "JCUDA"})
    public CudaBinding binding;

    /// `emulator`, `driver`, or the path of one.
    @Param(CudaLibrary.EMULATOR)
    public String library;

    private final MemorySegment values = Arena.global().allocate(32);
    private final MemorySegment pointers =
        Arena.global().allocate(ValueLayout.JAVA_LONG, OFFSETS.length);
    private CudaDriver.Launch launch;

    @Setup
    public void prepare() {
      CudaDriver driver = driver(binding, library);
      for (int i = 0; i < OFFSETS.length; i++) {
        pointers.setAtIndex(ValueLayout.JAVA_LONG, i, values.address() + OFFSETS[i]);
      }
      long module;
      try (Arena arena = Arena.ofConfined()) {
        module = driver.moduleLoadDataEx(arena.allocateFrom(ValueLayout.JAVA_BYTE, image(driver)));
      }
      launch = driver.prepare(driver.moduleGetFunction(module, KERNEL), pointers);
    }
  }

  /// What a user of JCuda writes.
  @State(Scope.Thread)
  @SuppressWarnings("NullAway.Init") // JMH fills it
  public static class Naive {
    /// As that of [Prepared].
    @Param(CudaLibrary.EMULATOR)
    public String library;

    private final CUfunction function = new CUfunction();

    @Setup
    public void prepare() {
      CudaDriver driver = driver(CudaBinding.JCUDA, library);
      CUmodule module = new CUmodule();
      JCudaDriver.cuModuleLoadData(module, image(driver));
      JCudaDriver.cuModuleGetFunction(function, module, KERNEL);
    }
  }

  private final long threads = Arena.global().allocate(ValueLayout.JAVA_INT).address();
  private long x = 1 << 20;
  private long elements;

  private static CudaDriver driver(CudaBinding binding, String wanted) {
    CudaLibrary library = CudaLibrary.open(wanted.equals("driver") ? null : wanted);
    CudaDriver driver = binding.driver(library);
    driver.ctxSetCurrent(driver.devicePrimaryCtxRetain(driver.deviceGet(0)));
    library.emulator().ifPresent(emulator -> emulator.set("work", "none"));
    return driver;
  }

  /// The kernels for the first device.
  private static byte[] image(CudaDriver driver) {
    CudaDevice device = CudaDevice.list(driver).getFirst();
    return CudaImages.read(device.target(driver.library()).orElseThrow(), "elementwise");
  }

  /// The floor: a downcall that does next to nothing.
  @Benchmark
  public int downcall() {
    try {
      return (int) THREADS.invokeExact(threads);
    } catch (Throwable e) {
      throw NativeLibrary.unreachable(e);
    }
  }

  /// Five arguments written into the prepared block, then the launch: what Retort does.
  @Benchmark
  public void prepared(Prepared state) {
    MemorySegment values = state.values;
    values.set(ValueLayout.JAVA_LONG, 0, x);
    values.set(ValueLayout.JAVA_FLOAT, 8, 2);
    values.set(ValueLayout.JAVA_FLOAT, 12, 3);
    values.set(ValueLayout.JAVA_LONG, 16, x);
    values.set(ValueLayout.JAVA_LONG, 24, elements);
    state.launch.launch(4, 1, 1, 256, 1, 1, 0, 0);
  }

  /// JCuda's pointers to pointers, made for each launch.
  @Benchmark
  public int naive(Naive state) {
    return JCudaDriver.cuLaunchKernel(
        state.function,
        4,
        1,
        1,
        256,
        1,
        1,
        0,
        null,
        Pointer.to(
            Pointer.to(new long[] {x}),
            Pointer.to(new float[] {2}),
            Pointer.to(new float[] {3}),
            Pointer.to(new long[] {x}),
            Pointer.to(new long[] {elements})),
        null);
  }
}
