package io.retort.backend;

import io.retort.bindings.cuda.Cublas;
import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaException;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/// A list of kernels, products, fills and copies with all their arguments, to be started later,
/// compared with another, or captured.
///
/// Each entry is a few words: which kernel or what else it is, the geometry, the argument block.
/// Two lists with equal words do the same.
final class CudaWork {
  private static final int FILL_BYTES = -1;
  private static final int COPY = -2;
  private static final int PRODUCT = -3;

  /// Words of an entry before the arguments of a kernel, and of one that is none.
  private static final int HEADER = 4;

  /// Words of a product beyond those.
  private static final int ADDRESSES = 2;

  private static final long LOW = 0xffff_ffffL;

  private final List<CudaKernel> kernels;
  private final List<Cublas.Plan> products;
  private long[] words = new long[1 << 12];
  private int length;
  private int entries;

  /// @param kernels every kernel of the context, at its index
  /// @param products every product that NVIDIA's library has prepared, at its index
  CudaWork(List<CudaKernel> kernels, List<Cublas.Plan> products) {
    this.kernels = kernels;
    this.products = products;
  }

  /// Adds a launch with the arguments that the kernel holds now.
  void kernel(CudaKernel kernel, long gridX, long gridY, long gridZ, int threads, int shared) {
    int at = entry(kernel.index(), gridX, gridY << 32 | gridZ, (long) threads << 32 | shared);
    int count = kernel.argumentWords();
    reserve(count);
    kernel.saveArguments(words, at + HEADER);
    length += count;
  }

  /// Adds a product by NVIDIA's library.
  ///
  /// @param plan its index
  void product(int plan, long a, long b, long bias, long c) {
    int at = entry(PRODUCT, plan, a, b);
    reserve(ADDRESSES);
    words[at + HEADER] = bias;
    words[at + HEADER + 1] = c;
    length += ADDRESSES;
  }

  void fillBytes(long address, byte value, long count) {
    entry(FILL_BYTES, address, value, count);
  }

  /// Adds a copy inside the device's memory.
  void copy(long to, long from, long bytes) {
    entry(COPY, to, from, bytes);
  }

  private int entry(int kind, long a, long b, long c) {
    reserve(HEADER);
    int at = length;
    words[at] = kind;
    words[at + 1] = a;
    words[at + 2] = b;
    words[at + 3] = c;
    length += HEADER;
    entries++;
    return at;
  }

  private void reserve(int count) {
    if (length + count > words.length) {
      words = Arrays.copyOf(words, Math.max(length + count, 2 * words.length));
    }
  }

  /// Kernels, fills and copies.
  int entries() {
    return entries;
  }

  /// Adds what [#since] gave.
  void append(long[] others, int count) {
    reserve(others.length);
    System.arraycopy(others, 0, words, length, others.length);
    length += others.length;
    entries += count;
  }

  /// The words from `begin` on.
  long[] since(int begin) {
    return Arrays.copyOfRange(words, begin, length);
  }

  void clear() {
    length = 0;
    entries = 0;
  }

  /// A number that equal lists share.
  long hash() {
    long hash = length;
    for (int i = 0; i < length; i++) {
      hash = (hash ^ words[i]) * 0x9E3779B97F4A7C15L;
      hash ^= hash >>> 29;
    }
    return hash;
  }

  long[] toArray() {
    return Arrays.copyOf(words, length);
  }

  boolean equalTo(long[] other) {
    return Arrays.equals(words, 0, length, other, 0, other.length);
  }

  /// Queues every entry on a stream, which may be capturing.
  ///
  /// @throws CudaException that names the kernel which the driver refused
  void start(CudaDriver driver, long stream) {
    for (int at = 0; at < length; ) {
      long a = words[at + 1];
      long b = words[at + 2];
      long c = words[at + 3];
      switch ((int) words[at]) {
        case FILL_BYTES -> driver.memsetD8Async(a, (byte) b, c, stream);
        case COPY -> driver.memcpyDtoDAsync(a, b, c, stream);
        case PRODUCT ->
            products.get((int) a).multiply(b, c, words[at + HEADER], words[at + HEADER + 1]);
        default -> {
          CudaKernel kernel = kernels.get((int) words[at]);
          kernel.start(words, at + HEADER, a, b >>> 32, b & LOW, (int) (c >>> 32), (int) c, stream);
        }
      }
      at += size(words, at);
    }
  }

  private int size(long[] list, int at) {
    int kind = (int) list[at];
    return HEADER
        + switch (kind) {
          case FILL_BYTES, COPY -> 0;
          case PRODUCT -> ADDRESSES;
          default -> kernels.get(kind).argumentWords();
        };
  }

  /// Where this list departs from another, in a clause; empty if it does not.
  Optional<String> difference(long[] other) {
    int mismatch = Arrays.mismatch(words, 0, length, other, 0, other.length);
    if (mismatch < 0) {
      return Optional.empty();
    }
    for (int at = 0, index = 1; at < length; index++) {
      int next = at + size(words, at);
      if (mismatch < next) {
        String what = name((int) words[at]);
        return Optional.of(
            mismatch < at + HEADER
                ? "entry %d, %s, is another one".formatted(index, what)
                : "entry %d, %s, has other arguments".formatted(index, what));
      }
      at = next;
    }
    return Optional.of("it has %d entries".formatted(entries));
  }

  private String name(int kind) {
    return switch (kind) {
      case FILL_BYTES -> "a fill";
      case COPY -> "a copy";
      case PRODUCT -> "a product";
      default -> kernels.get(kind).name();
    };
  }
}
