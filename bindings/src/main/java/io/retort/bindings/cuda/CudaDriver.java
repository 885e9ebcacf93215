package io.retort.bindings.cuda;

import java.lang.foreign.MemorySegment;

/// The calls of the CUDA driver that Retort makes, on one library, through one binding.
///
/// A method is the driver function of the same name without `cu` and without the suffix of its
/// version; what the function writes through a pointer is the method's result. Contexts, streams,
/// events, modules, functions and device memory are the driver's own values as `long`, so providers
/// of one process can be mixed. A status other than success is a [CudaException].
///
/// Calls work on the context that is current in the calling thread.
public interface CudaDriver {

  /// What of a device can be asked, with the driver's number for it.
  enum DeviceAttribute {
    CLOCK_KILOHERTZ(13),
    MULTIPROCESSOR_COUNT(16),
    COMPUTE_CAPABILITY_MAJOR(75),
    COMPUTE_CAPABILITY_MINOR(76),
    SHARED_BYTES_PER_BLOCK(97),
    MEMORY_POOLS_SUPPORTED(115);

    private final int code;

    DeviceAttribute(int code) {
      this.code = code;
    }

    public int code() {
      return code;
    }
  }

  /// What of a function can be asked.
  enum FunctionAttribute {
    MAX_THREADS_PER_BLOCK(0),
    SHARED_BYTES(1),
    LOCAL_BYTES(3),
    REGISTERS(4),
    MAX_DYNAMIC_SHARED_BYTES(8);

    private final int code;

    FunctionAttribute(int code) {
      this.code = code;
    }

    public int code() {
      return code;
    }
  }

  /// Bytes of a device's memory.
  record MemoryInfo(long free, long total) {}

  /// Where a kernel expects one of its parameters.
  record ParameterInfo(long offset, long bytes) {}

  /// A kernel with its arguments in place, made by [#prepare].
  @FunctionalInterface
  interface Launch {
    /// `cuLaunchKernel`: queues a grid of blocks of threads with this many bytes of dynamic shared
    /// memory a block. Arguments are read before it returns.
    void launch(
        int gridX,
        int gridY,
        int gridZ,
        int blockX,
        int blockY,
        int blockZ,
        int sharedBytes,
        long stream);
  }

  /// The binding's name as the command line spells it: `panama`, `jcuda`.
  String binding();

  /// The library that answers.
  CudaLibrary library();

  // devices and their primary contexts

  /// 1000 times the major plus 10 times the minor number of the newest CUDA that the driver knows.
  int driverGetVersion();

  int deviceGetCount();

  int deviceGet(int ordinal);

  String deviceGetName(int device);

  int deviceGetAttribute(DeviceAttribute attribute, int device);

  long deviceTotalMem(int device);

  long devicePrimaryCtxRetain(int device);

  void devicePrimaryCtxRelease(int device);

  void ctxSetCurrent(long context);

  long ctxGetCurrent();

  void ctxSynchronize();

  // memory

  MemoryInfo memGetInfo();

  /// Device memory that is there when the stream gets here.
  ///
  /// @throws CudaException with status OUT_OF_MEMORY if there is none
  long memAllocAsync(long bytes, long stream);

  void memFreeAsync(long address, long stream);

  /// Pinned host memory, which asynchronous copies need.
  MemorySegment memHostAlloc(long bytes);

  void memFreeHost(MemorySegment block);

  /// Host memory must stay as it is until the stream has passed this.
  void memcpyHtoDAsync(long device, long host, long bytes, long stream);

  void memcpyDtoHAsync(long host, long device, long bytes, long stream);

  void memcpyDtoDAsync(long to, long from, long bytes, long stream);

  void memsetD8Async(long device, byte value, long count, long stream);

  void memsetD32Async(long device, int value, long count, long stream);

  // streams and events

  /// A stream that does not wait for the legacy default stream.
  long streamCreate();

  void streamDestroy(long stream);

  void streamSynchronize(long stream);

  /// Whether everything queued so far is done.
  boolean streamQuery(long stream);

  void streamWaitEvent(long stream, long event);

  /// @param timed whether [#eventElapsedTime] will be asked of it
  long eventCreate(boolean timed);

  void eventDestroy(long event);

  void eventRecord(long event, long stream);

  /// Whether what was recorded is done; true before the first record.
  boolean eventQuery(long event);

  void eventSynchronize(long event);

  /// Milliseconds between two events that are done.
  float eventElapsedTime(long start, long end);

  // modules and functions

  /// Loads a cubin, PTX that ends with a zero, or an image for the emulator.
  ///
  /// @throws CudaException with the compiler's log if PTX does not compile
  long moduleLoadDataEx(MemorySegment image);

  void moduleUnload(long module);

  long moduleGetFunction(long module, String name);

  int funcGetAttribute(FunctionAttribute attribute, long function);

  void funcSetAttribute(long function, FunctionAttribute attribute, int value);

  /// Where parameter `index` is expected.
  ///
  /// @throws CudaException with status 1 past the last parameter
  ParameterInfo funcGetParamInfo(long function, int index);

  int occupancyMaxActiveBlocksPerMultiprocessor(
      long function, int threadsPerBlock, long sharedBytes);

  /// Binds a function to a native array with one pointer for each of its parameters; whoever
  /// launches sets what they point to first.
  Launch prepare(long function, MemorySegment arguments);

  // graphs

  /// Records what this thread queues on the stream instead of running it, until
  /// [#streamEndCapture].
  void streamBeginCapture(long stream);

  /// The recorded graph.
  long streamEndCapture(long stream);

  boolean streamIsCapturing(long stream);

  long graphInstantiate(long graph);

  void graphLaunch(long executable, long stream);

  void graphExecDestroy(long executable);

  void graphDestroy(long graph);
}
