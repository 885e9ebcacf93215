package io.retort.backend;

import io.retort.op.UnsupportedOpException;
import io.retort.tensor.DType;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// One computation compiled for several element types, or pairs of them.
///
/// The kernel of float32 is called `<name>_f32`; of float32 and bfloat16, `<name>_f32_bf16`.
final class CudaKernels {
  private static final List<DType> FLOATING = List.of(DType.F32, DType.BF16);
  private static final int TYPES = DType.values().length;

  private final String name;
  private final @Nullable CudaKernel[] kernels = new @Nullable CudaKernel[TYPES * (TYPES + 1)];

  private CudaKernels(String name) {
    this.name = name;
  }

  /// The kernels for float32 and bfloat16.
  static CudaKernels typed(CudaModule module, String name, String signature) {
    var kernels = new CudaKernels(name);
    for (DType type : FLOATING) {
      kernels.kernels[type.ordinal()] = module.kernel(name + suffix(type), signature);
    }
    return kernels;
  }

  /// The kernels for every pair of float32 and bfloat16.
  static CudaKernels paired(CudaModule module, String name, String signature) {
    var kernels = new CudaKernels(name);
    for (DType first : FLOATING) {
      for (DType second : FLOATING) {
        kernels.kernels[index(first, second)] =
            module.kernel(name + suffix(first) + suffix(second), signature);
      }
    }
    return kernels;
  }

  /// The kernel for a type, ready for its first argument.
  CudaKernel begin(DType type) {
    return begin(kernels[type.ordinal()], type.toString());
  }

  /// The kernel for a pair of types, ready for its first argument.
  CudaKernel begin(DType first, DType second) {
    return begin(kernels[index(first, second)], first + " with " + second);
  }

  private CudaKernel begin(@Nullable CudaKernel kernel, String types) {
    if (kernel == null) {
      throw new UnsupportedOpException(name, CudaBackend.NAME, "no kernel for " + types);
    }
    return kernel.begin();
  }

  private static int index(DType first, DType second) {
    return TYPES * (1 + first.ordinal()) + second.ordinal();
  }

  private static String suffix(DType type) {
    return switch (type) {
      case F32 -> "_f32";
      case BF16 -> "_bf16";
      case I64 -> "_i64";
    };
  }
}
