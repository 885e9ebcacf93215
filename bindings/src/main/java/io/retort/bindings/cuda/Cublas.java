package io.retort.bindings.cuda;

/// Products of matrices by NVIDIA's library, queued on one stream: cuBLASLt through Panama
/// ([CublasLt]), cuBLAS through JCuda.
///
/// Matrices are row-major here. Sums are float32, without tensor cores for float32 (TF32 would drop
/// 13 bits). A status other than success is a [CudaException] with cuBLAS's name for it. For one
/// thread at a time.
public interface Cublas extends AutoCloseable {

  /// Refused by the library: it has no kernel for these types, or this shape.
  int NOT_SUPPORTED = 15;

  /// Bytes of device memory to give to a library: what NVIDIA recommends for Hopper and later.
  long WORKSPACE_BYTES = 32 << 20;

  /// Alignment of addresses that a product is prepared for.
  int ALIGNMENT = 16;

  /// Device memory that products of one stream may use, 256-byte aligned.
  record Workspace(long address, long bytes) {}

  /// A type of elements, with cuBLAS's number for it.
  enum Element {
    F32(0, 4),
    BF16(14, 2);

    private final int code;
    private final int bytes;

    Element(int code, int bytes) {
      this.code = code;
      this.bytes = bytes;
    }

    public int code() {
      return code;
    }

    public int bytes() {
      return bytes;
    }
  }

  /// `c = op(a) op(b)`, `count` times, plus a bias of `n` float32 numbers on each row; a is m by k
  /// as it is multiplied, b k by n.
  ///
  /// @param type of a and b
  /// @param result of c: that of the others, or float32
  /// @param pitchA elements from row to row of a; one matrix follows the other without a gap
  /// @param transposeA whether a is stored `(k, m)`
  /// @param transposeB whether b is stored `(n, k)`
  /// @param alignedC whether addresses of c are multiples of [#ALIGNMENT], as those of a and b must
  ///   be
  record Product(
      Element type,
      Element result,
      int count,
      long m,
      long n,
      long k,
      long pitchA,
      long pitchB,
      boolean transposeA,
      boolean transposeB,
      boolean biased,
      boolean alignedC) {

    /// Elements from one a to the next.
    public long strideA() {
      return (transposeA ? k : m) * pitchA;
    }

    public long strideB() {
      return (transposeB ? n : k) * pitchB;
    }

    public long strideC() {
      return m * n;
    }
  }

  /// A product with everything but its addresses.
  interface Plan extends AutoCloseable {
    /// Queues the product.
    ///
    /// @param bias address of the bias, or 0 without
    void multiply(long a, long b, long bias, long c);

    @Override
    void close();
  }

  /// Name and version, `cuBLASLt 13.1.0`.
  String version();

  /// The library that answers.
  VendorLibrary library();

  /// Whether it adds a bias to results of that type; else the caller has to.
  boolean addsBias(Element result);

  /// Prepares a product.
  ///
  /// @throws CudaException with status [#NOT_SUPPORTED] if the library does not do it
  Plan plan(Product product);

  @Override
  void close();

  /// A failure in the words of cuBLAS's documentation.
  static CudaException failure(String call, int status) {
    return switch (status) {
      case 1 -> failure(call, status, "NOT_INITIALIZED", "the handle is none, or CUDA failed");
      case 3 -> failure(call, status, "ALLOC_FAILED", "the library found no memory");
      case 7 -> failure(call, status, "INVALID_VALUE", "an argument does not fit the others");
      case 8 -> failure(call, status, "ARCH_MISMATCH", "the device is too old for this");
      case 11 -> failure(call, status, "MAPPING_ERROR", "device memory could not be read");
      case 13 -> failure(call, status, "EXECUTION_FAILED", "the kernel could not be launched");
      case 14 -> failure(call, status, "INTERNAL_ERROR", "something failed inside the library");
      case NOT_SUPPORTED ->
          failure(call, status, "NOT_SUPPORTED", "the library has no kernel for this product");
      case 16 -> failure(call, status, "LICENSE_ERROR", "the library found no licence");
      default -> failure(call, status, "UNKNOWN", "unknown");
    };
  }

  private static CudaException failure(String call, int status, String symbol, String reason) {
    return new CudaException(call, status, "CUBLAS_STATUS_" + symbol, reason);
  }

  /// `13.1.0` of 130100.
  static String version(long number) {
    return "%d.%d.%d".formatted(number / 10000, number / 100 % 100, number % 100);
  }
}
