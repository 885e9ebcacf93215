package io.retort.bindings.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.retort.bindings.cuda.CudaDriver.DeviceAttribute;
import io.retort.bindings.cuda.CudaDriver.FunctionAttribute;
import io.retort.bindings.cuda.CudaDriver.ParameterInfo;
import io.retort.bindings.jcuda.JCudaDriver;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.ValueSource;

/// Every call of [CudaDriver] on the emulator, through both bindings.
@ParameterizedClass
@ValueSource(strings = {"panama", "jcuda"})
final class CudaDriverTest {
  private static final int INVALID_VALUE = 1;
  private static final int INVALID_IMAGE = 200;
  private static final int NOT_FOUND = 500;
  private static final int CAPTURE_UNSUPPORTED = 900;
  private static final int CAPTURE_INVALIDATED = 901;

  private final String binding;
  private final CudaDriver driver;
  private final CudaEmulator emulator;
  private final long allocations;
  private final int device;
  private final long context;
  private final long stream;

  CudaDriverTest(String binding) {
    this.binding = binding;
    CudaLibrary library = CudaLibrary.open(CudaLibrary.EMULATOR);
    driver = binding.equals("jcuda") ? JCudaDriver.open(library) : PanamaDriver.open(library);
    emulator = library.emulator().orElseThrow();
    allocations = emulator.count(CudaEmulator.Count.ALLOCATIONS);
    device = driver.deviceGet(0);
    context = driver.devicePrimaryCtxRetain(device);
    driver.ctxSetCurrent(context);
    stream = driver.streamCreate();
  }

  @AfterEach
  void nothingIsLeft() {
    driver.streamDestroy(stream);
    assertThat(emulator.count(CudaEmulator.Count.ALLOCATIONS)).isEqualTo(allocations);
    driver.devicePrimaryCtxRelease(device);
    assertThat(emulator.count(CudaEmulator.Count.LEAKS)).isZero();
  }

  @Test
  void aDeviceIsDescribed() {
    assertThat(driver.binding()).isEqualTo(binding);
    assertThat(driver.driverGetVersion()).isEqualTo(13000);
    assertThat(driver.deviceGetCount()).isEqualTo(2);
    assertThat(driver.deviceGetName(device)).isEqualTo("Retort emulator sm_90");
    assertThat(driver.deviceGetAttribute(DeviceAttribute.COMPUTE_CAPABILITY_MAJOR, device))
        .isEqualTo(9);
    assertThat(driver.deviceTotalMem(device)).isGreaterThan(1 << 30);
    assertThat(driver.ctxGetCurrent()).isEqualTo(context);
    assertThat(driver.memGetInfo().total()).isEqualTo(driver.deviceTotalMem(device));
    assertThat(driver.memGetInfo().free()).isPositive();
  }

  @Test
  void copiesGoThereAndBackInOrder() {
    MemorySegment host = driver.memHostAlloc(64);
    long from = driver.memAllocAsync(64, stream);
    long to = driver.memAllocAsync(64, stream);
    host.setAtIndex(ValueLayout.JAVA_FLOAT, 3, 1.5f);

    driver.memsetD8Async(from, (byte) 0xAB, 64, stream);
    driver.memcpyHtoDAsync(from + 12, host.address() + 12, 4, stream);
    driver.memsetD32Async(from + 16, 0x12345678, 2, stream);
    driver.memcpyDtoDAsync(to, from, 64, stream);
    driver.memcpyDtoHAsync(host.address(), to, 64, stream);
    driver.streamSynchronize(stream);

    assertThat(host.getAtIndex(ValueLayout.JAVA_FLOAT, 3)).isEqualTo(1.5f);
    assertThat(host.get(ValueLayout.JAVA_INT, 0)).isEqualTo(0xABABABAB);
    assertThat(host.get(ValueLayout.JAVA_LONG, 16)).isEqualTo(0x1234567812345678L);
    driver.memFreeAsync(from, stream);
    driver.memFreeAsync(to, stream);
    driver.memFreeHost(host);
    driver.ctxSynchronize();
    assertThat(driver.streamQuery(stream)).isTrue();
  }

  @Test
  void eventsMarkWhatIsDone() {
    long other = driver.streamCreate();
    long start = driver.eventCreate(true);
    long end = driver.eventCreate(true);
    long untimed = driver.eventCreate(false);
    assertThat(driver.eventQuery(untimed)).isTrue();

    driver.eventRecord(start, stream);
    driver.streamWaitEvent(other, start);
    driver.eventRecord(untimed, other);
    driver.eventSynchronize(untimed);
    driver.eventRecord(end, stream);
    driver.eventSynchronize(end);

    assertThat(driver.eventElapsedTime(start, end)).isNotNegative();
    assertThatExceptionOfType(CudaException.class)
        .isThrownBy(() -> driver.eventElapsedTime(untimed, end))
        .satisfies(e -> assertThat(e.call()).isEqualTo("cuEventElapsedTime"));
    driver.eventDestroy(start);
    driver.eventDestroy(end);
    driver.eventDestroy(untimed);
    driver.streamDestroy(other);
  }

  @Test
  void aKernelRuns() {
    try (Affine affine = new Affine()) {
      affine.fill(2);

      affine.launch(stream);

      assertThat(affine.first()).isEqualTo(7);
    }
  }

  @Test
  void aKernelIsDescribed() {
    try (Affine affine = new Affine()) {
      long function = affine.function;

      assertThat(driver.funcGetAttribute(FunctionAttribute.MAX_THREADS_PER_BLOCK, function))
          .isEqualTo(256);
      assertThat(driver.funcGetParamInfo(function, 2)).isEqualTo(new ParameterInfo(12, 4));
      assertThat(driver.funcGetParamInfo(function, 4)).isEqualTo(new ParameterInfo(24, 8));
      assertThatExceptionOfType(CudaException.class)
          .isThrownBy(() -> driver.funcGetParamInfo(function, 5))
          .satisfies(e -> assertThat(e.status()).isEqualTo(INVALID_VALUE));
      assertThat(driver.occupancyMaxActiveBlocksPerMultiprocessor(function, 256, 0)).isPositive();
      driver.funcSetAttribute(function, FunctionAttribute.MAX_DYNAMIC_SHARED_BYTES, 100 << 10);
      assertThat(driver.funcGetAttribute(FunctionAttribute.MAX_DYNAMIC_SHARED_BYTES, function))
          .isEqualTo(100 << 10);
    }
  }

  @Test
  void aGraphReplaysWhatWasRecorded() {
    try (Affine affine = new Affine()) {
      affine.fill(2);
      driver.streamBeginCapture(stream);
      affine.launch(stream);
      assertThat(driver.streamIsCapturing(stream)).isTrue();
      long graph = driver.streamEndCapture(stream);
      assertThat(driver.streamIsCapturing(stream)).isFalse();
      long executable = driver.graphInstantiate(graph);
      assertThat(affine.first()).isEqualTo(2);

      driver.graphLaunch(executable, stream);
      driver.graphLaunch(executable, stream);

      assertThat(affine.first()).isEqualTo(17);
      driver.graphExecDestroy(executable);
      driver.graphDestroy(graph);
    }
  }

  /// What a captured training phase rests on: arguments stay, memory is read anew.
  @Test
  void aGraphKeepsItsArgumentsAndReadsMemoryAnew() {
    try (Affine affine = new Affine()) {
      long given = driver.memAllocAsync(32, stream);
      driver.streamBeginCapture(stream);
      driver.memcpyDtoDAsync(affine.memory, given, 32, stream);
      affine.launch(stream);
      long graph = driver.streamEndCapture(stream);
      long executable = driver.graphInstantiate(graph);
      driver.graphDestroy(graph);
      affine.values.set(ValueLayout.JAVA_FLOAT, 8, 100);

      for (int value = 1; value <= 3; value++) {
        driver.memsetD32Async(given, Float.floatToRawIntBits(value), 8, stream);
        driver.graphLaunch(executable, stream);
        assertThat(affine.first()).isEqualTo(2 * value + 3);
      }
      driver.graphExecDestroy(executable);
      driver.memFreeAsync(given, stream);
    }
  }

  @Test
  void aCaptureThatIsInterruptedFailsAndTheStreamGoesOn() {
    try (Affine affine = new Affine()) {
      affine.fill(2);
      driver.streamBeginCapture(stream);
      affine.launch(stream);

      assertThatExceptionOfType(CudaException.class)
          .isThrownBy(() -> driver.streamSynchronize(stream))
          .satisfies(e -> assertThat(e.status()).isEqualTo(CAPTURE_UNSUPPORTED))
          .satisfies(e -> assertThat(e.sticky()).isFalse());
      assertThatExceptionOfType(CudaException.class)
          .isThrownBy(() -> driver.streamEndCapture(stream))
          .satisfies(e -> assertThat(e.status()).isEqualTo(CAPTURE_INVALIDATED))
          .withMessageStartingWith("cuStreamEndCapture: ");

      affine.launch(stream);
      assertThat(affine.first()).isEqualTo(7);
    }
  }

  @Test
  void anUnknownKernelIsAnErrorAndHandlesStayGood() {
    try (Affine affine = new Affine()) {
      affine.fill(2);

      assertThatExceptionOfType(CudaException.class)
          .isThrownBy(() -> driver.moduleGetFunction(affine.module, "rt_no_such_kernel"))
          .satisfies(e -> assertThat(e.status()).isEqualTo(NOT_FOUND))
          .withMessageContaining("cuModuleGetFunction: ")
          .withMessageContaining("CUDA_ERROR_NOT_FOUND");

      affine.launch(stream);
      assertThat(affine.first()).isEqualTo(7);
    }
  }

  @Test
  void whatIsNoImageIsRefused() {
    try (var arena = Arena.ofConfined()) {
      MemorySegment image = arena.allocate(4096);

      assertThatExceptionOfType(CudaException.class)
          .isThrownBy(() -> driver.moduleLoadDataEx(image))
          .satisfies(e -> assertThat(e.status()).isEqualTo(INVALID_IMAGE))
          .withMessageStartingWith("cuModuleLoadDataEx: ");
    }
  }

  @Test
  void aDeviceThatIsNotThereIsAnError() {
    assertThatExceptionOfType(CudaException.class)
        .isThrownBy(() -> driver.deviceGet(9))
        .withMessageContaining("CUDA_ERROR_INVALID_DEVICE");
  }

  @Test
  void moreMemoryThanThereIsHasItsOwnStatus() {
    assertThatExceptionOfType(CudaException.class)
        .isThrownBy(() -> driver.memAllocAsync(1L << 40, stream))
        .satisfies(e -> assertThat(e.status()).isEqualTo(CudaException.OUT_OF_MEMORY));
  }

  /// `y = 2 y + 3` on eight floats.
  private final class Affine implements AutoCloseable {
    final long module;
    final long function;
    private final long memory = driver.memAllocAsync(32, stream);
    private final MemorySegment values = Arena.ofAuto().allocate(32);
    private final CudaDriver.Launch launch;

    Affine() {
      byte[] bytes = CudaImages.read("emulator", "elementwise");
      try (var arena = Arena.ofConfined()) {
        module = driver.moduleLoadDataEx(arena.allocateFrom(ValueLayout.JAVA_BYTE, bytes));
      }
      function = driver.moduleGetFunction(module, "rt_affine_f32");
      values.set(ValueLayout.JAVA_LONG, 0, memory);
      values.set(ValueLayout.JAVA_FLOAT, 8, 2);
      values.set(ValueLayout.JAVA_FLOAT, 12, 3);
      values.set(ValueLayout.JAVA_LONG, 16, memory);
      values.set(ValueLayout.JAVA_LONG, 24, 8);
      MemorySegment pointers = Arena.ofAuto().allocate(ValueLayout.JAVA_LONG, 5);
      long[] offsets = {0, 8, 12, 16, 24};
      for (int i = 0; i < offsets.length; i++) {
        pointers.setAtIndex(ValueLayout.JAVA_LONG, i, values.address() + offsets[i]);
      }
      launch = driver.prepare(function, pointers);
    }

    void fill(float value) {
      driver.memsetD32Async(memory, Float.floatToRawIntBits(value), 8, stream);
    }

    void launch(long on) {
      launch.launch(1, 1, 1, 32, 1, 1, 0, on);
    }

    float first() {
      MemorySegment host = driver.memHostAlloc(4);
      driver.memcpyDtoHAsync(host.address(), memory, 4, stream);
      driver.streamSynchronize(stream);
      float value = host.get(ValueLayout.JAVA_FLOAT, 0);
      driver.memFreeHost(host);
      return value;
    }

    @Override
    public void close() {
      driver.memFreeAsync(memory, stream);
      driver.streamSynchronize(stream);
      driver.moduleUnload(module);
    }
  }
}
