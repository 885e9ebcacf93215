package io.retort.bindings.cuda;

import io.retort.bindings.Downcall;
import io.retort.bindings.NativeLinkError;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/// [Cublas] by `libcublasLt`, through the foreign function interface.
///
/// The library is column-major: it is asked for `c^T = op(b)^T op(a)^T`, whose matrices lie in
/// memory as the row-major ones do. Of the algorithms that its heuristics propose the first is
/// taken; for one library and device that is always the same one, because alignments are stated
/// (the least, [#ALIGNMENT]) and not taken from addresses. Source: cuBLAS 13.0, section 3.
public final class CublasLt implements Cublas {
  private static final int OLDEST = 12;
  private static final String GET_VERSION = "cublasLtGetVersion";

  // cublasLt.h: attributes of descriptors, layouts and preferences
  private static final int DESC_TRANSPOSE_A = 3;
  private static final int DESC_TRANSPOSE_B = 4;
  private static final int DESC_EPILOGUE = 7;
  private static final int DESC_BIAS_POINTER = 8;
  private static final int LAYOUT_BATCH_COUNT = 5;
  private static final int LAYOUT_BATCH_STRIDE = 6;
  private static final int PREFERENCE_WORKSPACE_BYTES = 1;
  private static final int PREFERENCE_ALIGNMENT_A = 5;
  private static final int PREFERENCE_ALIGNMENT_C = 7;
  private static final int PREFERENCE_ALIGNMENT_D = 8;

  private static final int COMPUTE_F32 = 68;
  private static final int TRANSPOSED = 1;
  private static final int EPILOGUE_BIAS = 4;
  private static final long ALGORITHM_BYTES = 64;
  private static final long HEURISTIC_BYTES = 96;

  private final VendorLibrary library;
  private final Workspace workspace;
  private final long stream;
  private final String version;

  private final MethodHandle create;
  private final MethodHandle destroy;
  private final MethodHandle matmul;
  private final MethodHandle heuristic;
  private final Kind layouts;
  private final Kind descriptors;
  private final Kind preferences;
  private final long handle;

  /// One kind of the library's objects: how it is destroyed, how its attributes are set.
  private record Kind(String name, MethodHandle create, MethodHandle set, MethodHandle destroy) {
    static Kind of(VendorLibrary library, String name, String signature) {
      return new Kind(
          name,
          library.bind(name + "Create", signature),
          library.bind(name + "SetAttribute", "pipl"),
          library.bind(name + "Destroy", "p"));
    }

    void setInt(long object, int attribute, int value) {
      try (var arena = Arena.ofConfined()) {
        set(object, attribute, arena.allocateFrom(ValueLayout.JAVA_INT, value));
      }
    }

    void setLong(long object, int attribute, long value) {
      try (var arena = Arena.ofConfined()) {
        set(object, attribute, arena.allocateFrom(ValueLayout.JAVA_LONG, value));
      }
    }

    void set(long object, int attribute, MemorySegment value) {
      run(
          name + "SetAttribute",
          () -> (int) set.invokeExact(object, attribute, value.address(), value.byteSize()));
    }

    void free(long object) {
      run(name + "Destroy", () -> (int) destroy.invokeExact(object));
    }
  }

  private CublasLt(VendorLibrary library, Workspace workspace, long stream) {
    this.library = library;
    this.workspace = workspace;
    this.stream = stream;
    version = version(library);
    if (library.ask(GET_VERSION) / 10000 < OLDEST) {
      throw new NativeLinkError(
          "%s is %s, Retort calls %d.0 or newer".formatted(library, version, OLDEST));
    }
    create = library.bind("cublasLtCreate", "p");
    destroy = library.bind("cublasLtDestroy", "p");
    matmul = library.bind("cublasLtMatmul", "pppppppppppppplp");
    heuristic = library.bind("cublasLtMatmulAlgoGetHeuristic", "pppppppipp");
    layouts = Kind.of(library, "cublasLtMatrixLayout", "pilll");
    descriptors = Kind.of(library, "cublasLtMatmulDesc", "pii");
    preferences = Kind.of(library, "cublasLtMatmulPreference", "p");
    handle = make("cublasLtCreate", out -> (int) create.invokeExact(out));
  }

  /// Opens the library for a stream of the context that is current.
  ///
  /// @throws NativeLinkError if it lacks a function, or is too old
  /// @throws CudaException if it cannot work here
  public static CublasLt open(VendorLibrary library, Workspace workspace, long stream) {
    return new CublasLt(library, workspace, stream);
  }

  /// Name and version of a library that is only looked at.
  ///
  /// @throws NativeLinkError if it does not tell
  public static String version(VendorLibrary library) {
    return "cuBLASLt " + Cublas.version(library.ask(GET_VERSION));
  }

  /// A call that is yet to be made.
  @FunctionalInterface
  private interface Call {
    int status() throws Throwable;
  }

  /// A call that writes an object's address.
  @FunctionalInterface
  private interface Maker {
    int status(long result) throws Throwable;
  }

  private static void run(String name, Call call) {
    int status;
    try {
      status = call.status();
    } catch (Throwable e) {
      throw Downcall.unreachable(e);
    }
    if (status != 0) {
      throw Cublas.failure(name, status);
    }
  }

  private static long make(String name, Maker maker) {
    try (var arena = Arena.ofConfined()) {
      var result = arena.allocate(ValueLayout.JAVA_LONG);
      run(name, () -> maker.status(result.address()));
      return result.get(ValueLayout.JAVA_LONG, 0);
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

  /// The library adds biases of the result's type, and Retort's are float32.
  @Override
  public boolean addsBias(Element result) {
    return result == Element.F32;
  }

  @Override
  public Plan plan(Product product) {
    return new LtPlan(product);
  }

  @Override
  public void close() {
    run("cublasLtDestroy", () -> (int) destroy.invokeExact(handle));
  }

  private final class LtPlan implements Plan {
    private final Arena arena = Arena.ofAuto();
    private final MemorySegment scalars =
        arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, 0); // alpha, beta
    private final MemorySegment bias = arena.allocate(ValueLayout.JAVA_LONG);
    private final MemorySegment algorithm = arena.allocate(ALGORITHM_BYTES, Long.BYTES);
    private final boolean biased;
    private final long descriptor;
    private final long first;
    private final long second;
    private final long result;

    LtPlan(Product p) {
      biased = p.biased();
      descriptor =
          make(
              "cublasLtMatmulDescCreate",
              out -> (int) descriptors.create.invokeExact(out, COMPUTE_F32, Element.F32.code()));
      first = layout(p, p.transposeB() ? p.k() : p.n(), p.transposeB() ? p.n() : p.k(), p.pitchB());
      second =
          layout(p, p.transposeA() ? p.m() : p.k(), p.transposeA() ? p.k() : p.m(), p.pitchA());
      result = layout(p.result(), p.n(), p.m(), p.n());
      try {
        describe(p);
        choose(p);
      } catch (CudaException e) {
        close();
        throw e;
      }
    }

    private long layout(Product p, long rows, long columns, long pitch) {
      return layout(p.type(), rows, columns, pitch);
    }

    /// A column-major matrix.
    private long layout(Element type, long rows, long columns, long pitch) {
      int code = type.code();
      return make(
          "cublasLtMatrixLayoutCreate",
          out -> (int) layouts.create.invokeExact(out, code, rows, columns, pitch));
    }

    private void describe(Product p) {
      if (p.transposeB()) {
        descriptors.setInt(descriptor, DESC_TRANSPOSE_A, TRANSPOSED);
      }
      if (p.transposeA()) {
        descriptors.setInt(descriptor, DESC_TRANSPOSE_B, TRANSPOSED);
      }
      if (biased) {
        descriptors.setInt(descriptor, DESC_EPILOGUE, EPILOGUE_BIAS);
        // The heuristics look at the address's alignment, and at nothing behind it.
        descriptors.setLong(descriptor, DESC_BIAS_POINTER, ALIGNMENT);
      }
      if (p.count() > 1) {
        batch(first, p.count(), p.strideB());
        batch(second, p.count(), p.strideA());
        batch(result, p.count(), p.strideC());
      }
    }

    private void batch(long layout, int count, long stride) {
      layouts.setInt(layout, LAYOUT_BATCH_COUNT, count);
      layouts.setLong(layout, LAYOUT_BATCH_STRIDE, stride);
    }

    private void choose(Product p) {
      long preference =
          make("cublasLtMatmulPreferenceCreate", out -> (int) preferences.create.invokeExact(out));
      try (var scratch = Arena.ofConfined()) {
        preferences.setLong(preference, PREFERENCE_WORKSPACE_BYTES, workspace.bytes());
        for (int side = PREFERENCE_ALIGNMENT_A; side <= PREFERENCE_ALIGNMENT_D; side++) {
          boolean aligned = side < PREFERENCE_ALIGNMENT_C || p.alignedC();
          preferences.setInt(preference, side, aligned ? ALIGNMENT : p.result().bytes());
        }
        var found = scratch.allocate(HEURISTIC_BYTES, Long.BYTES);
        var count = scratch.allocate(ValueLayout.JAVA_INT);
        run(
            "cublasLtMatmulAlgoGetHeuristic",
            () ->
                (int)
                    heuristic.invokeExact(
                        handle,
                        descriptor,
                        first,
                        second,
                        result,
                        result,
                        preference,
                        1,
                        found.address(),
                        count.address()));
        if (count.get(ValueLayout.JAVA_INT, 0) == 0) {
          throw Cublas.failure("cublasLtMatmulAlgoGetHeuristic", NOT_SUPPORTED);
        }
        MemorySegment.copy(found, 0, algorithm, 0, ALGORITHM_BYTES);
      } finally {
        preferences.free(preference);
      }
    }

    @Override
    public void multiply(long a, long b, long biasAddress, long c) {
      if (biased) {
        bias.set(ValueLayout.JAVA_LONG, 0, biasAddress);
        descriptors.set(descriptor, DESC_BIAS_POINTER, bias);
      }
      long alpha = scalars.address();
      int status;
      try {
        status =
            (int)
                matmul.invokeExact(
                    handle,
                    descriptor,
                    alpha,
                    b,
                    first,
                    a,
                    second,
                    alpha + Float.BYTES,
                    c,
                    result,
                    c,
                    result,
                    algorithm.address(),
                    workspace.address(),
                    workspace.bytes(),
                    stream);
      } catch (Throwable e) {
        throw Downcall.unreachable(e);
      }
      if (status != 0) {
        throw Cublas.failure("cublasLtMatmul", status);
      }
    }

    @Override
    public void close() {
      descriptors.free(descriptor);
      layouts.free(first);
      layouts.free(second);
      layouts.free(result);
    }
  }
}
