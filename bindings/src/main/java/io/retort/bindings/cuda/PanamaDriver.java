package io.retort.bindings.cuda;

import io.retort.bindings.Downcall;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;

/// The driver through the foreign function interface.
///
/// What a training step calls by the thousand is spelled out around `invokeExact`; the rest goes
/// through one helper for each type of result.
public final class PanamaDriver implements CudaDriver {
  private static final CudaLibrary LIBRARY = CudaLibrary.opened();

  private static final MethodHandle INIT = bind("cuInit", "i");
  private static final MethodHandle DRIVER_GET_VERSION = bind("cuDriverGetVersion", "p");
  private static final MethodHandle GET_ERROR_NAME = bind("cuGetErrorName", "ip");
  private static final MethodHandle GET_ERROR_STRING = bind("cuGetErrorString", "ip");
  private static final MethodHandle DEVICE_GET_COUNT = bind("cuDeviceGetCount", "p");
  private static final MethodHandle DEVICE_GET = bind("cuDeviceGet", "pi");
  private static final MethodHandle DEVICE_GET_NAME = bind("cuDeviceGetName", "pii");
  private static final MethodHandle DEVICE_GET_ATTRIBUTE = bind("cuDeviceGetAttribute", "pii");
  private static final MethodHandle DEVICE_TOTAL_MEM = bind("cuDeviceTotalMem_v2", "pi");
  private static final MethodHandle PRIMARY_CTX_RETAIN = bind("cuDevicePrimaryCtxRetain", "pi");
  private static final MethodHandle PRIMARY_CTX_RELEASE = bind("cuDevicePrimaryCtxRelease_v2", "i");
  private static final MethodHandle CTX_SET_CURRENT = bind("cuCtxSetCurrent", "p");
  private static final MethodHandle CTX_GET_CURRENT = bind("cuCtxGetCurrent", "p");
  private static final MethodHandle CTX_SYNCHRONIZE = bind("cuCtxSynchronize", "");

  private static final MethodHandle MEM_GET_INFO = bind("cuMemGetInfo_v2", "pp");
  private static final MethodHandle MEM_ALLOC_ASYNC = bind("cuMemAllocAsync", "plp");
  private static final MethodHandle MEM_FREE_ASYNC = bind("cuMemFreeAsync", "pp");
  private static final MethodHandle MEM_HOST_ALLOC = bind("cuMemHostAlloc", "pli");
  private static final MethodHandle MEM_FREE_HOST = bind("cuMemFreeHost", "p");
  private static final MethodHandle MEMCPY_HTOD_ASYNC = bind("cuMemcpyHtoDAsync_v2", "pplp");
  private static final MethodHandle MEMCPY_DTOH_ASYNC = bind("cuMemcpyDtoHAsync_v2", "pplp");
  private static final MethodHandle MEMCPY_DTOD_ASYNC = bind("cuMemcpyDtoDAsync_v2", "pplp");
  // The byte is an int by the platform's calling convention, which extends it.
  private static final MethodHandle MEMSET_D8_ASYNC = bind("cuMemsetD8Async", "pilp");
  private static final MethodHandle MEMSET_D32_ASYNC = bind("cuMemsetD32Async", "pilp");

  private static final MethodHandle STREAM_CREATE = bind("cuStreamCreate", "pi");
  private static final MethodHandle STREAM_DESTROY = bind("cuStreamDestroy_v2", "p");
  private static final MethodHandle STREAM_SYNCHRONIZE = bind("cuStreamSynchronize", "p");
  private static final MethodHandle STREAM_QUERY = bind("cuStreamQuery", "p");
  private static final MethodHandle STREAM_WAIT_EVENT = bind("cuStreamWaitEvent", "ppi");
  private static final MethodHandle EVENT_CREATE = bind("cuEventCreate", "pi");
  private static final MethodHandle EVENT_DESTROY = bind("cuEventDestroy_v2", "p");
  private static final MethodHandle EVENT_RECORD = bind("cuEventRecord", "pp");
  private static final MethodHandle EVENT_QUERY = bind("cuEventQuery", "p");
  private static final MethodHandle EVENT_SYNCHRONIZE = bind("cuEventSynchronize", "p");
  // Version 2 came with CUDA 12.8 and differs in the events it accepts, which are not ours.
  private static final MethodHandle EVENT_ELAPSED_TIME = bind("cuEventElapsedTime", "ppp");

  private static final MethodHandle MODULE_LOAD_DATA_EX = bind("cuModuleLoadDataEx", "ppipp");
  private static final MethodHandle MODULE_UNLOAD = bind("cuModuleUnload", "p");
  private static final MethodHandle MODULE_GET_FUNCTION = bind("cuModuleGetFunction", "ppp");
  private static final MethodHandle FUNC_GET_ATTRIBUTE = bind("cuFuncGetAttribute", "pip");
  private static final MethodHandle FUNC_SET_ATTRIBUTE = bind("cuFuncSetAttribute", "pii");
  private static final MethodHandle FUNC_GET_PARAM_INFO = bind("cuFuncGetParamInfo", "plpp");
  private static final MethodHandle OCCUPANCY =
      bind("cuOccupancyMaxActiveBlocksPerMultiprocessor", "ppil");
  private static final MethodHandle LAUNCH_KERNEL = bind("cuLaunchKernel", "piiiiiiippp");

  private static final MethodHandle STREAM_BEGIN_CAPTURE = bind("cuStreamBeginCapture_v2", "pi");
  private static final MethodHandle STREAM_END_CAPTURE = bind("cuStreamEndCapture", "pp");
  private static final MethodHandle STREAM_IS_CAPTURING = bind("cuStreamIsCapturing", "pp");
  private static final MethodHandle GRAPH_INSTANTIATE = bind("cuGraphInstantiateWithFlags", "ppl");
  private static final MethodHandle GRAPH_LAUNCH = bind("cuGraphLaunch", "pp");
  private static final MethodHandle GRAPH_EXEC_DESTROY = bind("cuGraphExecDestroy", "p");
  private static final MethodHandle GRAPH_DESTROY = bind("cuGraphDestroy", "p");

  private static final int STREAM_NON_BLOCKING = 1;
  private static final int EVENT_DISABLE_TIMING = 2;
  private static final int CAPTURE_THREAD_LOCAL = 1;
  private static final int JIT_ERROR_LOG = 5;
  private static final int JIT_ERROR_LOG_BYTES = 6;
  private static final int LOG_BYTES = 1 << 14;
  private static final int NAME_BYTES = 256;
  private static final long NO_EXTRA = 0;

  private PanamaDriver() {}

  /// The driver, initialised.
  ///
  /// @param library the one of this process
  /// @throws io.retort.bindings.NativeLinkError if it lacks a function
  public static PanamaDriver open(CudaLibrary library) {
    if (library != LIBRARY) {
      throw new IllegalArgumentException("a process has one CUDA library");
    }
    run("cuInit", () -> (int) INIT.invokeExact(0));
    return new PanamaDriver();
  }

  /// A driver call that is yet to be made.
  @FunctionalInterface
  private interface Call {
    int status() throws Throwable;
  }

  /// A driver call that writes its result to an address.
  @FunctionalInterface
  private interface Question {
    int status(long result) throws Throwable;
  }

  private static MethodHandle bind(String function, String signature) {
    return LIBRARY.bind(function, signature);
  }

  private static int status(Call call) {
    try {
      return call.status();
    } catch (Throwable e) {
      throw Downcall.unreachable(e);
    }
  }

  private static void run(String name, Call call) {
    check(status(call), name);
  }

  private static MemorySegment ask(Arena arena, String name, Question question) {
    var result = arena.allocate(ValueLayout.JAVA_LONG);
    run(name, () -> question.status(result.address()));
    return result;
  }

  private static int askInt(String name, Question question) {
    try (var arena = Arena.ofConfined()) {
      return ask(arena, name, question).get(ValueLayout.JAVA_INT, 0);
    }
  }

  private static long askLong(String name, Question question) {
    try (var arena = Arena.ofConfined()) {
      return ask(arena, name, question).get(ValueLayout.JAVA_LONG, 0);
    }
  }

  private static boolean askReady(String name, Call call) {
    int status = status(call);
    if (status == CudaException.NOT_READY) {
      return false;
    }
    check(status, name);
    return true;
  }

  /// Returns if `status` is success.
  private static void check(int status, String call) {
    if (status != 0) {
      throw failure(status, call);
    }
  }

  private static CudaException failure(int status, String call) {
    return new CudaException(
        call, status, text(GET_ERROR_NAME, status), text(GET_ERROR_STRING, status));
  }

  /// What the library says of a status.
  private static String text(MethodHandle function, int status) {
    try (var arena = Arena.ofConfined()) {
      var text = arena.allocate(ValueLayout.ADDRESS);
      int known = status(() -> (int) function.invokeExact(status, text.address()));
      var address = text.get(ValueLayout.ADDRESS, 0);
      return known != 0 || address.equals(MemorySegment.NULL)
          ? "unknown"
          : address.reinterpret(NAME_BYTES).getString(0);
    }
  }

  @Override
  public String binding() {
    return "panama";
  }

  @Override
  public CudaLibrary library() {
    return LIBRARY;
  }

  @Override
  public int driverGetVersion() {
    return askInt("cuDriverGetVersion", out -> (int) DRIVER_GET_VERSION.invokeExact(out));
  }

  @Override
  public int deviceGetCount() {
    return askInt("cuDeviceGetCount", out -> (int) DEVICE_GET_COUNT.invokeExact(out));
  }

  @Override
  public int deviceGet(int ordinal) {
    return askInt("cuDeviceGet", out -> (int) DEVICE_GET.invokeExact(out, ordinal));
  }

  @Override
  public String deviceGetName(int device) {
    try (var arena = Arena.ofConfined()) {
      var name = arena.allocate(NAME_BYTES);
      run(
          "cuDeviceGetName",
          () -> (int) DEVICE_GET_NAME.invokeExact(name.address(), NAME_BYTES, device));
      return name.getString(0);
    }
  }

  @Override
  public int deviceGetAttribute(DeviceAttribute attribute, int device) {
    int code = attribute.code();
    return askInt(
        "cuDeviceGetAttribute", out -> (int) DEVICE_GET_ATTRIBUTE.invokeExact(out, code, device));
  }

  @Override
  public long deviceTotalMem(int device) {
    return askLong("cuDeviceTotalMem", out -> (int) DEVICE_TOTAL_MEM.invokeExact(out, device));
  }

  @Override
  public long devicePrimaryCtxRetain(int device) {
    return askLong(
        "cuDevicePrimaryCtxRetain", out -> (int) PRIMARY_CTX_RETAIN.invokeExact(out, device));
  }

  @Override
  public void devicePrimaryCtxRelease(int device) {
    run("cuDevicePrimaryCtxRelease", () -> (int) PRIMARY_CTX_RELEASE.invokeExact(device));
  }

  @Override
  public void ctxSetCurrent(long context) {
    run("cuCtxSetCurrent", () -> (int) CTX_SET_CURRENT.invokeExact(context));
  }

  @Override
  public long ctxGetCurrent() {
    return askLong("cuCtxGetCurrent", out -> (int) CTX_GET_CURRENT.invokeExact(out));
  }

  @Override
  public void ctxSynchronize() {
    run("cuCtxSynchronize", () -> (int) CTX_SYNCHRONIZE.invokeExact());
  }

  @Override
  public MemoryInfo memGetInfo() {
    try (var arena = Arena.ofConfined()) {
      var free = arena.allocate(ValueLayout.JAVA_LONG);
      var total = arena.allocate(ValueLayout.JAVA_LONG);
      run("cuMemGetInfo", () -> (int) MEM_GET_INFO.invokeExact(free.address(), total.address()));
      return new MemoryInfo(
          free.get(ValueLayout.JAVA_LONG, 0), total.get(ValueLayout.JAVA_LONG, 0));
    }
  }

  @Override
  public long memAllocAsync(long bytes, long stream) {
    return askLong("cuMemAllocAsync", out -> (int) MEM_ALLOC_ASYNC.invokeExact(out, bytes, stream));
  }

  @Override
  public void memFreeAsync(long address, long stream) {
    run("cuMemFreeAsync", () -> (int) MEM_FREE_ASYNC.invokeExact(address, stream));
  }

  @Override
  public MemorySegment memHostAlloc(long bytes) {
    int noFlags = 0;
    long address =
        askLong("cuMemHostAlloc", out -> (int) MEM_HOST_ALLOC.invokeExact(out, bytes, noFlags));
    return MemorySegment.ofAddress(address).reinterpret(bytes);
  }

  @Override
  public void memFreeHost(MemorySegment block) {
    long address = block.address();
    run("cuMemFreeHost", () -> (int) MEM_FREE_HOST.invokeExact(address));
  }

  @Override
  public void memcpyHtoDAsync(long device, long host, long bytes, long stream) {
    int status;
    try {
      status = (int) MEMCPY_HTOD_ASYNC.invokeExact(device, host, bytes, stream);
    } catch (Throwable e) {
      throw Downcall.unreachable(e);
    }
    check(status, "cuMemcpyHtoDAsync");
  }

  @Override
  public void memcpyDtoHAsync(long host, long device, long bytes, long stream) {
    int status;
    try {
      status = (int) MEMCPY_DTOH_ASYNC.invokeExact(host, device, bytes, stream);
    } catch (Throwable e) {
      throw Downcall.unreachable(e);
    }
    check(status, "cuMemcpyDtoHAsync");
  }

  @Override
  public void memcpyDtoDAsync(long to, long from, long bytes, long stream) {
    int status;
    try {
      status = (int) MEMCPY_DTOD_ASYNC.invokeExact(to, from, bytes, stream);
    } catch (Throwable e) {
      throw Downcall.unreachable(e);
    }
    check(status, "cuMemcpyDtoDAsync");
  }

  @Override
  public void memsetD8Async(long device, byte value, long count, long stream) {
    int bits = value & 0xff;
    int status;
    try {
      status = (int) MEMSET_D8_ASYNC.invokeExact(device, bits, count, stream);
    } catch (Throwable e) {
      throw Downcall.unreachable(e);
    }
    check(status, "cuMemsetD8Async");
  }

  @Override
  public void memsetD32Async(long device, int value, long count, long stream) {
    int status;
    try {
      status = (int) MEMSET_D32_ASYNC.invokeExact(device, value, count, stream);
    } catch (Throwable e) {
      throw Downcall.unreachable(e);
    }
    check(status, "cuMemsetD32Async");
  }

  @Override
  public long streamCreate() {
    return askLong(
        "cuStreamCreate", out -> (int) STREAM_CREATE.invokeExact(out, STREAM_NON_BLOCKING));
  }

  @Override
  public void streamDestroy(long stream) {
    run("cuStreamDestroy", () -> (int) STREAM_DESTROY.invokeExact(stream));
  }

  @Override
  public void streamSynchronize(long stream) {
    run("cuStreamSynchronize", () -> (int) STREAM_SYNCHRONIZE.invokeExact(stream));
  }

  @Override
  public boolean streamQuery(long stream) {
    return askReady("cuStreamQuery", () -> (int) STREAM_QUERY.invokeExact(stream));
  }

  @Override
  public void streamWaitEvent(long stream, long event) {
    int noFlags = 0;
    run("cuStreamWaitEvent", () -> (int) STREAM_WAIT_EVENT.invokeExact(stream, event, noFlags));
  }

  @Override
  public long eventCreate(boolean timed) {
    int flags = timed ? 0 : EVENT_DISABLE_TIMING;
    return askLong("cuEventCreate", out -> (int) EVENT_CREATE.invokeExact(out, flags));
  }

  @Override
  public void eventDestroy(long event) {
    run("cuEventDestroy", () -> (int) EVENT_DESTROY.invokeExact(event));
  }

  @Override
  public void eventRecord(long event, long stream) {
    run("cuEventRecord", () -> (int) EVENT_RECORD.invokeExact(event, stream));
  }

  @Override
  public boolean eventQuery(long event) {
    return askReady("cuEventQuery", () -> (int) EVENT_QUERY.invokeExact(event));
  }

  @Override
  public void eventSynchronize(long event) {
    run("cuEventSynchronize", () -> (int) EVENT_SYNCHRONIZE.invokeExact(event));
  }

  @Override
  public float eventElapsedTime(long start, long end) {
    int bits =
        askInt("cuEventElapsedTime", out -> (int) EVENT_ELAPSED_TIME.invokeExact(out, start, end));
    return Float.intBitsToFloat(bits);
  }

  @Override
  public long moduleLoadDataEx(MemorySegment image) {
    try (var arena = Arena.ofConfined()) {
      var module = arena.allocate(ValueLayout.JAVA_LONG);
      var log = arena.allocate(LOG_BYTES);
      var options = arena.allocateFrom(ValueLayout.JAVA_INT, JIT_ERROR_LOG, JIT_ERROR_LOG_BYTES);
      var values = arena.allocateFrom(ValueLayout.JAVA_LONG, log.address(), LOG_BYTES);
      int status =
          status(() ->
              (int)
                  MODULE_LOAD_DATA_EX.invokeExact(
                      module.address(), image.address(), 2, options.address(), values.address()));
      if (status != 0) {
        var said = log.getString(0, StandardCharsets.UTF_8).strip();
        var failure = failure(status, "cuModuleLoadDataEx");
        throw said.isEmpty() ? failure : failure.because(said);
      }
      return module.get(ValueLayout.JAVA_LONG, 0);
    }
  }

  @Override
  public void moduleUnload(long module) {
    run("cuModuleUnload", () -> (int) MODULE_UNLOAD.invokeExact(module));
  }

  @Override
  public long moduleGetFunction(long module, String name) {
    try (var arena = Arena.ofConfined()) {
      long text = arena.allocateFrom(name).address();
      return askLong(
          "cuModuleGetFunction", out -> (int) MODULE_GET_FUNCTION.invokeExact(out, module, text));
    }
  }

  @Override
  public int funcGetAttribute(FunctionAttribute attribute, long function) {
    int code = attribute.code();
    return askInt(
        "cuFuncGetAttribute", out -> (int) FUNC_GET_ATTRIBUTE.invokeExact(out, code, function));
  }

  @Override
  public void funcSetAttribute(long function, FunctionAttribute attribute, int value) {
    int code = attribute.code();
    run("cuFuncSetAttribute", () -> (int) FUNC_SET_ATTRIBUTE.invokeExact(function, code, value));
  }

  @Override
  public ParameterInfo funcGetParamInfo(long function, int index) {
    try (var arena = Arena.ofConfined()) {
      var offset = arena.allocate(ValueLayout.JAVA_LONG);
      var bytes = arena.allocate(ValueLayout.JAVA_LONG);
      long parameter = index;
      run(
          "cuFuncGetParamInfo",
          () ->
              (int)
                  FUNC_GET_PARAM_INFO.invokeExact(
                      function, parameter, offset.address(), bytes.address()));
      return new ParameterInfo(
          offset.get(ValueLayout.JAVA_LONG, 0), bytes.get(ValueLayout.JAVA_LONG, 0));
    }
  }

  @Override
  public int occupancyMaxActiveBlocksPerMultiprocessor(
      long function, int threadsPerBlock, long sharedBytes) {
    return askInt(
        "cuOccupancyMaxActiveBlocksPerMultiprocessor",
        out -> (int) OCCUPANCY.invokeExact(out, function, threadsPerBlock, sharedBytes));
  }

  @Override
  public Launch prepare(long function, MemorySegment arguments) {
    return new PreparedLaunch(function, arguments.address(), arguments);
  }

  /// @param kept the array behind `arguments`, which must live as long as this
  private record PreparedLaunch(long function, long arguments, MemorySegment kept)
      implements Launch {
    @Override
    public void launch(
        int gridX,
        int gridY,
        int gridZ,
        int blockX,
        int blockY,
        int blockZ,
        int sharedBytes,
        long stream) {
      int status;
      try {
        status =
            (int)
                LAUNCH_KERNEL.invokeExact(
                    function,
                    gridX,
                    gridY,
                    gridZ,
                    blockX,
                    blockY,
                    blockZ,
                    sharedBytes,
                    stream,
                    arguments,
                    NO_EXTRA);
      } catch (Throwable e) {
        throw Downcall.unreachable(e);
      }
      check(status, "cuLaunchKernel");
    }
  }

  @Override
  public void streamBeginCapture(long stream) {
    run(
        "cuStreamBeginCapture",
        () -> (int) STREAM_BEGIN_CAPTURE.invokeExact(stream, CAPTURE_THREAD_LOCAL));
  }

  @Override
  public long streamEndCapture(long stream) {
    return askLong("cuStreamEndCapture", out -> (int) STREAM_END_CAPTURE.invokeExact(stream, out));
  }

  @Override
  public boolean streamIsCapturing(long stream) {
    return askInt("cuStreamIsCapturing", out -> (int) STREAM_IS_CAPTURING.invokeExact(stream, out))
        != 0;
  }

  @Override
  public long graphInstantiate(long graph) {
    long noFlags = 0;
    return askLong(
        "cuGraphInstantiateWithFlags",
        out -> (int) GRAPH_INSTANTIATE.invokeExact(out, graph, noFlags));
  }

  @Override
  public void graphLaunch(long executable, long stream) {
    run("cuGraphLaunch", () -> (int) GRAPH_LAUNCH.invokeExact(executable, stream));
  }

  @Override
  public void graphExecDestroy(long executable) {
    run("cuGraphExecDestroy", () -> (int) GRAPH_EXEC_DESTROY.invokeExact(executable));
  }

  @Override
  public void graphDestroy(long graph) {
    run("cuGraphDestroy", () -> (int) GRAPH_DESTROY.invokeExact(graph));
  }
}
