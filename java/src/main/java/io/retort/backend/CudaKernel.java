package io.retort.backend;

import io.retort.bindings.NativeLinkError;
import io.retort.bindings.cuda.CudaDriver;
import io.retort.bindings.cuda.CudaDriver.FunctionAttribute;
import io.retort.bindings.cuda.CudaException;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/// One kernel with the native block that its arguments are written into; a launch allocates
/// nothing.
///
/// ```java
/// affine.begin().pointer(x).f32(scale).f32(shift).pointer(out).i64(n).over(n, 4);
/// ```
///
/// Arguments come in the order of the signature and of its types; any other is a bug that the call
/// itself reports. Like everything of a [CudaContext], for one thread at a time.
final class CudaKernel {
  private static final int THREADS = 256;
  private static final int GRID_YZ = 65535;
  private static final int INVALID_VALUE = 1;

  /// Shared memory a block gets without asking for more.
  private static final int SHARED_BYTES = 48 << 10;

  private final CudaContext context;
  private final CudaDriver driver;
  private final long function;
  private final String name;
  private final String signature;
  private final long[] offsets;
  private final int index;
  private final MemorySegment values;
  private final CudaDriver.Launch launch;

  /// Arguments of launches that were collected; apart, since one may be started while `values` are
  /// filled for another.
  private final MemorySegment collected;

  private final CudaDriver.Launch collectedLaunch;
  private int filled;
  private int sharedBytes = SHARED_BYTES;

  /// @throws NativeLinkError if the kernel's parameters are not those of the signature
  CudaKernel(CudaContext context, long function, String name, String signature) {
    this.context = context;
    driver = context.driver();
    this.function = function;
    this.name = name;
    this.signature = signature;
    int count = signature.length();
    offsets = new long[count];
    long end = 0;
    for (int i = 0; i < count; i++) {
      long alignment = alignment(signature.charAt(i));
      offsets[i] = (end + alignment - 1) / alignment * alignment;
      end = offsets[i] + bytes(signature.charAt(i));
    }
    verify();
    values = block(end);
    launch = prepare(values);
    collected = block(end);
    collectedLaunch = prepare(collected);
    index = context.kernels().size();
    context.kernels().add(this);
  }

  /// Zeroes in whole words, so that equal arguments are equal words.
  private static MemorySegment block(long bytes) {
    return Arena.ofAuto().allocate(ValueLayout.JAVA_LONG, Math.max(1, Math.ceilDiv(bytes, 8)));
  }

  private CudaDriver.Launch prepare(MemorySegment block) {
    MemorySegment pointers =
        Arena.ofAuto().allocate(ValueLayout.JAVA_LONG, Math.max(1, offsets.length));
    for (int i = 0; i < offsets.length; i++) {
      pointers.setAtIndex(ValueLayout.JAVA_LONG, i, block.address() + offsets[i]);
    }
    return driver.prepare(function, pointers);
  }

  private static long bytes(char letter) {
    return switch (letter) {
      case 'p', 'l', 'd' -> Long.BYTES;
      case 'i', 'f' -> Integer.BYTES;
      case 'k' -> 5 * Integer.BYTES;
      default ->
          throw new NativeLinkError("signature letters are p, l, i, f, d and k, got " + letter);
    };
  }

  private static long alignment(char letter) {
    return letter == 'k' ? Integer.BYTES : bytes(letter);
  }

  /// Compares the signature with what the driver says of each parameter.
  private void verify() {
    int count = signature.length();
    for (int i = 0; i < count; i++) {
      CudaDriver.ParameterInfo info = parameter(i);
      if (info == null) {
        throw new NativeLinkError(
            "%s: Java passes (%s), the kernel takes %d parameters".formatted(name, signature, i));
      }
      if (info.offset() != offsets[i] || info.bytes() != bytes(signature.charAt(i))) {
        throw new NativeLinkError(
            "%s: Java passes (%s), the kernel takes %d bytes at offset %d as parameter %d"
                .formatted(name, signature, info.bytes(), info.offset(), i + 1));
      }
    }
    if (parameter(count) != null) {
      throw new NativeLinkError(
          "%s: Java passes (%s), the kernel takes more".formatted(name, signature));
    }
  }

  private CudaDriver.@Nullable ParameterInfo parameter(int index) {
    try {
      return driver.funcGetParamInfo(function, index);
    } catch (CudaException e) {
      if (e.status() == INVALID_VALUE) {
        return null;
      }
      throw e.in(name);
    }
  }

  /// Ready for the first argument.
  CudaKernel begin() {
    filled = 0;
    return this;
  }

  /// The address of a tensor, 0 for none.
  CudaKernel pointer(@Nullable Tensor tensor) {
    return address(tensor == null ? 0 : tensor.address());
  }

  CudaKernel address(long value) {
    values.set(ValueLayout.JAVA_LONG, next('p'), value);
    return this;
  }

  CudaKernel i64(long value) {
    values.set(ValueLayout.JAVA_LONG, next('l'), value);
    return this;
  }

  CudaKernel i32(int value) {
    values.set(ValueLayout.JAVA_INT, next('i'), value);
    return this;
  }

  /// An int that is 1 or 0.
  CudaKernel flag(boolean value) {
    return i32(value ? 1 : 0);
  }

  CudaKernel f32(double value) {
    values.set(ValueLayout.JAVA_FLOAT, next('f'), (float) value);
    return this;
  }

  CudaKernel f64(double value) {
    values.set(ValueLayout.JAVA_DOUBLE, next('d'), value);
    return this;
  }

  /// A random stream, laid out as `rt_philox_key`, and where its step lies if not there.
  CudaKernel philox(PhiloxKey key) {
    long stepAt = context.queue().stepAddress(key.step());
    long at = next('k');
    values.set(ValueLayout.JAVA_LONG_UNALIGNED, at, key.seed());
    values.set(ValueLayout.JAVA_INT, at + 8, key.tag());
    values.set(ValueLayout.JAVA_LONG_UNALIGNED, at + 12, stepAt == 0 ? key.step() : 0);
    return address(stepAt);
  }

  private long next(char letter) {
    int index = filled++;
    if (index >= offsets.length || signature.charAt(index) != letter) {
      throw new IllegalStateException(
          "%s: takes (%s), got %c as argument %d".formatted(name, signature, letter, index + 1));
    }
    return offsets[index];
  }

  /// Launches one thread for every `each` of `n` elements, in blocks of 256; nothing for none.
  void over(long n, int each) {
    launch(Math.ceilDiv(n, (long) THREADS * each), THREADS);
  }

  /// Launches a one-dimensional grid without dynamic shared memory.
  void launch(long blocks, int threads) {
    launch(blocks, threads, 0);
  }

  /// Launches a one-dimensional grid.
  void launch(long blocks, int threads, int dynamicBytes) {
    launch(blocks, 1, 1, threads, dynamicBytes);
  }

  /// Launches a grid of one-dimensional blocks; a grid without blocks is nothing to do.
  ///
  /// @param dynamicBytes shared memory of a block beside what the kernel declares
  void launch(long gridX, long gridY, long gridZ, int threads, int dynamicBytes) {
    if (filled != offsets.length) {
      throw new IllegalStateException(
          "%s: takes (%s), got %d arguments".formatted(name, signature, filled));
    }
    if (gridX == 0 || gridY == 0 || gridZ == 0) {
      return;
    }
    if (gridX > Integer.MAX_VALUE || gridY > GRID_YZ || gridZ > GRID_YZ) {
      throw new IllegalStateException(
          "%s: a grid must be at most 2^31 - 1 by 65535 by 65535 blocks, got %d by %d by %d"
              .formatted(name, gridX, gridY, gridZ));
    }
    context.enter();
    if (dynamicBytes > sharedBytes) {
      allowShared(dynamicBytes);
    }
    context.queue().kernel(this, gridX, gridY, gridZ, threads, dynamicBytes);
  }

  /// Launches with the arguments that were filled in.
  void start(long gridX, long gridY, long gridZ, int threads, int dynamicBytes, long stream) {
    start(launch, gridX, gridY, gridZ, threads, dynamicBytes, stream);
  }

  /// Launches with arguments that were saved.
  void start(
      long[] words,
      int at,
      long gridX,
      long gridY,
      long gridZ,
      int threads,
      int dynamicBytes,
      long stream) {
    MemorySegment.copy(words, at, collected, ValueLayout.JAVA_LONG, 0, argumentWords());
    start(collectedLaunch, gridX, gridY, gridZ, threads, dynamicBytes, stream);
  }

  private void start(
      CudaDriver.Launch prepared,
      long gridX,
      long gridY,
      long gridZ,
      int threads,
      int dynamicBytes,
      long stream) {
    try {
      prepared.launch((int) gridX, (int) gridY, (int) gridZ, threads, 1, 1, dynamicBytes, stream);
    } catch (CudaException e) {
      throw e.in(name);
    }
  }

  /// Copies the arguments that were filled in to `words` from `at` on.
  void saveArguments(long[] words, int at) {
    MemorySegment.copy(values, ValueLayout.JAVA_LONG, 0, words, at, argumentWords());
  }

  /// Words of the argument block.
  int argumentWords() {
    return (int) (values.byteSize() / Long.BYTES);
  }

  /// Its place in [CudaContext#kernels].
  int index() {
    return index;
  }

  String name() {
    return name;
  }

  private void allowShared(int bytes) {
    if (bytes > context.device().sharedBytes()) {
      throw new IllegalStateException(
          "%s: asks for %d bytes of shared memory a block, %s has %d"
              .formatted(name, bytes, context.device().name(), context.device().sharedBytes()));
    }
    try {
      driver.funcSetAttribute(function, FunctionAttribute.MAX_DYNAMIC_SHARED_BYTES, bytes);
    } catch (CudaException e) {
      throw e.in(name);
    }
    sharedBytes = bytes;
  }

  /// How many such blocks the whole device runs at once: the grid of a kernel whose blocks loop.
  long residentBlocks(int threads, int dynamicBytes) {
    context.enter();
    if (dynamicBytes > sharedBytes) {
      allowShared(dynamicBytes);
    }
    return (long) context.device().multiprocessors()
        * driver.occupancyMaxActiveBlocksPerMultiprocessor(function, threads, dynamicBytes);
  }

  @Override
  public String toString() {
    return name + "(" + signature + ")";
  }
}
