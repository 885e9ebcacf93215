package io.retort.bindings.jcuda;

import static io.retort.bindings.jcuda.JCudaNatives.with;

import io.retort.bindings.NativeStore;
import io.retort.bindings.cuda.Cublas;
import io.retort.bindings.cuda.CudaException;
import io.retort.bindings.cuda.VendorLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jcuda.Pointer;
import jcuda.jcublas.JCublas2;
import jcuda.jcublas.cublasHandle;
import jcuda.runtime.cudaStream_t;

/// [Cublas] by cuBLAS of CUDA 12, through JCublas 12.6.0.
///
/// JCuda has nothing of cuBLASLt, so there is no bias and no say in the algorithm. Its natives need
/// `libcublas.so.12`, which has to be loaded before them; CUDA 13 brings another one.
public final class JCublas implements Cublas {
  private static final NativeStore.Resource NATIVES =
      new NativeStore.Resource(
          "lib/libJCublas2-12.6.0-linux-x86_64.so",
          "990b2129e540a7f93d0776799d48659dc85e4f7f5bfb6473d0c8369ef8126c32",
          1614384);

  private static final int COMPUTE_F32 = 68;
  private static final int DEFAULT_ALGORITHM = -1;

  private final VendorLibrary library;
  private final cublasHandle handle;
  private final String version;
  private final MemorySegment scalars =
      Arena.ofAuto().allocateFrom(ValueLayout.JAVA_FLOAT, 1, 0); // alpha, beta
  private final Pointer alpha = with(scalars.address(), new Pointer());
  private final Pointer beta = with(scalars.address() + Float.BYTES, new Pointer());

  private JCublas(VendorLibrary library, Workspace workspace, long stream) {
    this.library = library;
    handle = new cublasHandle();
    check(JCublas2.cublasCreate(handle), "cublasCreate");
    var number = new int[1];
    check(JCublas2.cublasGetVersion(handle, number), "cublasGetVersion");
    version = "cuBLAS " + Cublas.version(number[0]);
    check(JCublas2.cublasSetStream(handle, with(stream, new cudaStream_t())), "cublasSetStream");
    var memory = with(workspace.address(), new Pointer());
    check(JCublas2.cublasSetWorkspace(handle, memory, workspace.bytes()), "cublasSetWorkspace");
  }

  /// Opens the library for a stream of the context that is current.
  ///
  /// @param library `libcublas.so.12`, to which JCuda's natives are bound
  /// @throws io.retort.bindings.NativeLinkError if JCuda's natives do not load
  /// @throws CudaException if it cannot work here
  public static JCublas open(VendorLibrary library, Workspace workspace, long stream) {
    JCudaNatives.load(NATIVES, () -> JCublas2.setExceptionsEnabled(false)); // checked here
    return new JCublas(library, workspace, stream);
  }

  private static void check(int status, String call) {
    if (status != 0) {
      throw Cublas.failure(call, status);
    }
  }

  @Override
  public String version() {
    return version;
  }

  @Override
  public VendorLibrary library() {
    return library;
  }

  @Override
  public boolean addsBias(Element result) {
    return false;
  }

  @Override
  public Plan plan(Product p) {
    if (p.biased()) {
      throw Cublas.failure("cublasGemmStridedBatchedEx", NOT_SUPPORTED);
    }
    int m = narrow(p.m());
    int n = narrow(p.n());
    int k = narrow(p.k());
    int pitchA = narrow(p.pitchA());
    int pitchB = narrow(p.pitchB());
    var first = new Pointer();
    var second = new Pointer();
    var result = new Pointer();
    return new Plan() {
      @Override
      public void multiply(long a, long b, long bias, long c) {
        // column-major: c^T = op(b)^T op(a)^T
        int status =
            JCublas2.cublasGemmStridedBatchedEx_new(
                handle,
                p.transposeB() ? 1 : 0,
                p.transposeA() ? 1 : 0,
                n,
                m,
                k,
                alpha,
                with(b, first),
                p.type().code(),
                pitchB,
                p.strideB(),
                with(a, second),
                p.type().code(),
                pitchA,
                p.strideA(),
                beta,
                with(c, result),
                p.result().code(),
                n,
                p.strideC(),
                p.count(),
                COMPUTE_F32,
                DEFAULT_ALGORITHM);
        check(status, "cublasGemmStridedBatchedEx");
      }

      @Override
      public void close() {
        // nothing of the library's is held
      }
    };
  }

  private static int narrow(long extent) {
    if (extent > Integer.MAX_VALUE) {
      throw Cublas.failure("cublasGemmStridedBatchedEx", NOT_SUPPORTED);
    }
    return (int) extent;
  }

  @Override
  public void close() {
    check(JCublas2.cublasDestroy(handle), "cublasDestroy");
  }
}
