package io.retort.bindings.jcuda;

import static io.retort.bindings.jcuda.JCudaNatives.value;
import static io.retort.bindings.jcuda.JCudaNatives.with;
import static jcuda.driver.JCudaDriver.*;

import io.retort.bindings.NativeStore;
import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaException;
import io.retort.bindings.cuda.CudaLibrary;
import io.retort.bindings.cuda.PanamaDriver;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUfunction;
import jcuda.driver.CUgraph;
import jcuda.driver.CUgraphExec;
import jcuda.driver.CUmodule;
import jcuda.driver.CUstream;

/// The driver through JCuda 12.6.0.
///
/// JCuda keeps handles in objects; here they are made from the `long` for each call, but for the
/// stream and for prepared launches, whose objects stay. JCuda's natives name functions of the
/// driver lazily and end the process at one that is missing, so a [PanamaDriver] on the same
/// library is made first: it finds a missing function in time, and answers `cuFuncGetParamInfo`,
/// which JCuda does not have.
public final class JCudaDriver implements CudaDriver {
  private static final NativeStore.Resource NATIVES =
      new NativeStore.Resource(
          "lib/libJCudaDriver-12.6.0-linux-x86_64.so",
          "fdc3b4b4fca4f0fab54ff12c0b4d6ad1c5e8d55015b4950834c705e5db301255",
          1201712);

  private static final int STREAM_NON_BLOCKING = 1;
  private static final int EVENT_DISABLE_TIMING = 2;
  private static final int CAPTURE_THREAD_LOCAL = 1;
  private static final int JIT_ERROR_LOG = 5;
  private static final int JIT_ERROR_LOG_BYTES = 6;
  private static final int LOG_BYTES = 1 << 14;
  private static final int NAME_BYTES = 256;

  private final PanamaDriver panama;
  private CUstream stream = new CUstream();

  private JCudaDriver(PanamaDriver panama) {
    this.panama = panama;
  }

  /// The driver, initialised.
  ///
  /// @param library the one of this process; JCuda's natives find it by its name
  /// @throws io.retort.bindings.NativeLinkError if JCuda's natives do not load
  public static JCudaDriver open(CudaLibrary library) {
    var panama = PanamaDriver.open(library);
    JCudaNatives.load(NATIVES, () -> setExceptionsEnabled(false)); // every status is checked here
    check(cuInit(0), "cuInit");
    return new JCudaDriver(panama);
  }

  private static CUdevice device(int value) {
    return with(value, new CUdevice());
  }

  private static CUdeviceptr memory(long address) {
    return with(address, new CUdeviceptr());
  }

  private static Pointer host(long address) {
    return with(address, new Pointer());
  }

  private static CUevent event(long value) {
    return with(value, new CUevent());
  }

  private static CUfunction function(long value) {
    return with(value, new CUfunction());
  }

  private static CUmodule module(long value) {
    return with(value, new CUmodule());
  }

  /// The object of a stream; one program has one stream, mostly.
  private CUstream stream(long value) {
    if (value(stream) != value) {
      stream = with(value, new CUstream());
    }
    return stream;
  }

  private static void check(int status, String call) {
    if (status != 0) {
      throw failure(status, call);
    }
  }

  private static CudaException failure(int status, String call) {
    String[] symbol = {"unknown"};
    String[] reason = {"unknown"};
    cuGetErrorName(status, symbol);
    cuGetErrorString(status, reason);
    return new CudaException(call, status, symbol[0], reason[0]);
  }

  private static boolean ready(int status, String call) {
    if (status == CudaException.NOT_READY) {
      return false;
    }
    check(status, call);
    return true;
  }

  @Override
  public String binding() {
    return "jcuda";
  }

  @Override
  public CudaLibrary library() {
    return panama.library();
  }

  @Override
  public int driverGetVersion() {
    int[] version = new int[1];
    check(cuDriverGetVersion(version), "cuDriverGetVersion");
    return version[0];
  }

  @Override
  public int deviceGetCount() {
    int[] count = new int[1];
    check(cuDeviceGetCount(count), "cuDeviceGetCount");
    return count[0];
  }

  @Override
  public int deviceGet(int ordinal) {
    var device = new CUdevice();
    check(cuDeviceGet(device, ordinal), "cuDeviceGet");
    return (int) value(device);
  }

  @Override
  public String deviceGetName(int device) {
    byte[] name = new byte[NAME_BYTES];
    check(cuDeviceGetName(name, NAME_BYTES, device(device)), "cuDeviceGetName");
    return MemorySegment.ofArray(name).getString(0);
  }

  @Override
  public int deviceGetAttribute(DeviceAttribute attribute, int device) {
    int[] result = new int[1];
    check(cuDeviceGetAttribute(result, attribute.code(), device(device)), "cuDeviceGetAttribute");
    return result[0];
  }

  @Override
  public long deviceTotalMem(int device) {
    long[] bytes = new long[1];
    check(cuDeviceTotalMem(bytes, device(device)), "cuDeviceTotalMem");
    return bytes[0];
  }

  @Override
  public long devicePrimaryCtxRetain(int device) {
    var context = new CUcontext();
    check(cuDevicePrimaryCtxRetain(context, device(device)), "cuDevicePrimaryCtxRetain");
    return value(context);
  }

  @Override
  public void devicePrimaryCtxRelease(int device) {
    check(cuDevicePrimaryCtxRelease(device(device)), "cuDevicePrimaryCtxRelease");
  }

  @Override
  public void ctxSetCurrent(long context) {
    check(cuCtxSetCurrent(with(context, new CUcontext())), "cuCtxSetCurrent");
  }

  @Override
  public long ctxGetCurrent() {
    var context = new CUcontext();
    check(cuCtxGetCurrent(context), "cuCtxGetCurrent");
    return value(context);
  }

  @Override
  public void ctxSynchronize() {
    check(cuCtxSynchronize(), "cuCtxSynchronize");
  }

  @Override
  public MemoryInfo memGetInfo() {
    long[] free = new long[1];
    long[] total = new long[1];
    check(cuMemGetInfo(free, total), "cuMemGetInfo");
    return new MemoryInfo(free[0], total[0]);
  }

  @Override
  public long memAllocAsync(long bytes, long stream) {
    var memory = new CUdeviceptr();
    check(cuMemAllocAsync(memory, bytes, stream(stream)), "cuMemAllocAsync");
    return value(memory);
  }

  @Override
  public void memFreeAsync(long address, long stream) {
    check(cuMemFreeAsync(memory(address), stream(stream)), "cuMemFreeAsync");
  }

  @Override
  public MemorySegment memHostAlloc(long bytes) {
    var block = new Pointer();
    check(cuMemHostAlloc(block, bytes, 0), "cuMemHostAlloc");
    return MemorySegment.ofAddress(value(block)).reinterpret(bytes);
  }

  @Override
  public void memFreeHost(MemorySegment block) {
    check(cuMemFreeHost(host(block.address())), "cuMemFreeHost");
  }

  @Override
  public void memcpyHtoDAsync(long device, long host, long bytes, long stream) {
    check(
        cuMemcpyHtoDAsync(memory(device), host(host), bytes, stream(stream)), "cuMemcpyHtoDAsync");
  }

  @Override
  public void memcpyDtoHAsync(long host, long device, long bytes, long stream) {
    check(
        cuMemcpyDtoHAsync(host(host), memory(device), bytes, stream(stream)), "cuMemcpyDtoHAsync");
  }

  @Override
  public void memcpyDtoDAsync(long to, long from, long bytes, long stream) {
    check(cuMemcpyDtoDAsync(memory(to), memory(from), bytes, stream(stream)), "cuMemcpyDtoDAsync");
  }

  @Override
  public void memsetD8Async(long device, byte value, long count, long stream) {
    check(cuMemsetD8Async(memory(device), value, count, stream(stream)), "cuMemsetD8Async");
  }

  @Override
  public void memsetD32Async(long device, int value, long count, long stream) {
    check(cuMemsetD32Async(memory(device), value, count, stream(stream)), "cuMemsetD32Async");
  }

  @Override
  public long streamCreate() {
    var created = new CUstream();
    check(cuStreamCreate(created, STREAM_NON_BLOCKING), "cuStreamCreate");
    return value(created);
  }

  @Override
  public void streamDestroy(long stream) {
    check(cuStreamDestroy(stream(stream)), "cuStreamDestroy");
  }

  @Override
  public void streamSynchronize(long stream) {
    check(cuStreamSynchronize(stream(stream)), "cuStreamSynchronize");
  }

  @Override
  public boolean streamQuery(long stream) {
    return ready(cuStreamQuery(stream(stream)), "cuStreamQuery");
  }

  @Override
  public void streamWaitEvent(long stream, long event) {
    check(cuStreamWaitEvent(stream(stream), event(event), 0), "cuStreamWaitEvent");
  }

  @Override
  public long eventCreate(boolean timed) {
    var created = new CUevent();
    int flags = timed ? 0 : EVENT_DISABLE_TIMING;
    check(cuEventCreate(created, flags), "cuEventCreate");
    return value(created);
  }

  @Override
  public void eventDestroy(long event) {
    check(cuEventDestroy(event(event)), "cuEventDestroy");
  }

  @Override
  public void eventRecord(long event, long stream) {
    check(cuEventRecord(event(event), stream(stream)), "cuEventRecord");
  }

  @Override
  public boolean eventQuery(long event) {
    return ready(cuEventQuery(event(event)), "cuEventQuery");
  }

  @Override
  public void eventSynchronize(long event) {
    check(cuEventSynchronize(event(event)), "cuEventSynchronize");
  }

  @Override
  public float eventElapsedTime(long start, long end) {
    float[] milliseconds = new float[1];
    check(cuEventElapsedTime(milliseconds, event(start), event(end)), "cuEventElapsedTime");
    return milliseconds[0];
  }

  @Override
  public long moduleLoadDataEx(MemorySegment image) {
    try (var arena = Arena.ofConfined()) {
      var log = arena.allocate(LOG_BYTES);
      var values = arena.allocateFrom(ValueLayout.JAVA_LONG, log.address(), LOG_BYTES);
      int[] options = {JIT_ERROR_LOG, JIT_ERROR_LOG_BYTES};
      var module = new CUmodule();
      int status =
          cuModuleLoadDataEx(module, host(image.address()), 2, options, host(values.address()));
      if (status != 0) {
        var said = log.getString(0, StandardCharsets.UTF_8).strip();
        var failure = failure(status, "cuModuleLoadDataEx");
        throw said.isEmpty() ? failure : failure.because(said);
      }
      return value(module);
    }
  }

  @Override
  public void moduleUnload(long module) {
    check(cuModuleUnload(module(module)), "cuModuleUnload");
  }

  @Override
  public long moduleGetFunction(long module, String name) {
    var found = new CUfunction();
    check(cuModuleGetFunction(found, module(module), name), "cuModuleGetFunction");
    return value(found);
  }

  @Override
  public int funcGetAttribute(FunctionAttribute attribute, long function) {
    int[] result = new int[1];
    check(cuFuncGetAttribute(result, attribute.code(), function(function)), "cuFuncGetAttribute");
    return result[0];
  }

  @Override
  public void funcSetAttribute(long function, FunctionAttribute attribute, int value) {
    check(cuFuncSetAttribute(function(function), attribute.code(), value), "cuFuncSetAttribute");
  }

  @Override
  public ParameterInfo funcGetParamInfo(long function, int index) {
    return panama.funcGetParamInfo(function, index);
  }

  @Override
  public int occupancyMaxActiveBlocksPerMultiprocessor(
      long function, int threadsPerBlock, long sharedBytes) {
    int[] blocks = new int[1];
    check(
        cuOccupancyMaxActiveBlocksPerMultiprocessor(
            blocks, function(function), threadsPerBlock, sharedBytes),
        "cuOccupancyMaxActiveBlocksPerMultiprocessor");
    return blocks[0];
  }

  /// JCuda takes the array of pointers as it is if it is given its address, and so spares the
  /// copies that it makes of pointers to pointers.
  @Override
  public Launch prepare(long function, MemorySegment arguments) {
    var prepared = function(function);
    var pointers = host(arguments.address());
    return new Launch() {
      private final MemorySegment kept = arguments; // lives as long as this

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
        check(
            cuLaunchKernel(
                prepared,
                gridX,
                gridY,
                gridZ,
                blockX,
                blockY,
                blockZ,
                sharedBytes,
                stream(stream),
                pointers,
                null),
            "cuLaunchKernel");
      }
    };
  }

  @Override
  public void streamBeginCapture(long stream) {
    check(cuStreamBeginCapture(stream(stream), CAPTURE_THREAD_LOCAL), "cuStreamBeginCapture");
  }

  @Override
  public long streamEndCapture(long stream) {
    var graph = new CUgraph();
    check(cuStreamEndCapture(stream(stream), graph), "cuStreamEndCapture");
    return value(graph);
  }

  @Override
  public boolean streamIsCapturing(long stream) {
    int[] status = new int[1];
    check(cuStreamIsCapturing(stream(stream), status), "cuStreamIsCapturing");
    return status[0] != 0;
  }

  @Override
  public long graphInstantiate(long graph) {
    var executable = new CUgraphExec();
    check(
        cuGraphInstantiate(executable, with(graph, new CUgraph()), 0),
        "cuGraphInstantiateWithFlags");
    return value(executable);
  }

  @Override
  public void graphLaunch(long executable, long stream) {
    check(cuGraphLaunch(with(executable, new CUgraphExec()), stream(stream)), "cuGraphLaunch");
  }

  @Override
  public void graphExecDestroy(long executable) {
    check(cuGraphExecDestroy(with(executable, new CUgraphExec())), "cuGraphExecDestroy");
  }

  @Override
  public void graphDestroy(long graph) {
    check(cuGraphDestroy(with(graph, new CUgraph())), "cuGraphDestroy");
  }
}
