package io.retort.backend;

import io.retort.backend.CudaGemm.Matrix;
import io.retort.backend.CudaGemm.Product;
import io.retort.bindings.NativeLinkError;
import io.retort.bindings.cuda.Cublas;
import io.retort.bindings.cuda.Cublas.Element;
import io.retort.bindings.cuda.Cublas.Plan;
import io.retort.bindings.cuda.Cublas.Workspace;
import io.retort.bindings.cuda.CublasLt;
import io.retort.bindings.cuda.CudaException;
import io.retort.bindings.cuda.VendorLibrary;
import io.retort.bindings.cuda.VendorLibrary.Kind;
import io.retort.bindings.jcuda.JCublas;
import io.retort.op.UnsupportedOpException;
import io.retort.tensor.DType;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Products of matrices by NVIDIA's library on a context's stream; prepares each shape once.
///
/// cuBLASLt through Panama; through JCuda, which has nothing of it, cuBLAS of CUDA 12.
final class CublasGemm implements AutoCloseable {
  private final CudaContext context;
  private final Cublas cublas;
  private final Workspace workspace;

  /// Indices into [CudaContext#products].
  private final Map<Cublas.Product, Integer> plans = new HashMap<>();

  private CublasGemm(CudaContext context, Cublas cublas, Workspace workspace) {
    this.context = context;
    this.cublas = cublas;
    this.workspace = workspace;
  }

  /// Opens the library that goes with a binding of the driver.
  ///
  /// @throws NativeLinkError if there is none, or none that can be used
  static CublasGemm open(CudaContext context, CudaBinding binding) {
    Kind kind = binding == CudaBinding.JCUDA ? Kind.CUBLAS : Kind.CUBLAS_LT;
    VendorLibrary library =
        VendorLibrary.beside(context.driver().library(), kind)
            .orElseThrow(() -> new NativeLinkError(VendorLibrary.missing(kind)));
    context.enter();
    var workspace =
        new Workspace(
            context.driver().memAllocAsync(Cublas.WORKSPACE_BYTES, context.stream()),
            Cublas.WORKSPACE_BYTES);
    try {
      Cublas cublas =
          binding == CudaBinding.JCUDA
              ? JCublas.open(library, workspace, context.stream())
              : CublasLt.open(library, workspace, context.stream());
      return new CublasGemm(context, cublas, workspace);
    } catch (NativeLinkError e) {
      context.driver().memFreeAsync(workspace.address(), context.stream());
      throw e;
    } catch (CudaException e) {
      context.driver().memFreeAsync(workspace.address(), context.stream());
      throw new NativeLinkError("%s: %s".formatted(library, e.getMessage()), e);
    }
  }

  /// Name and version of the library.
  String version() {
    return cublas.version();
  }

  VendorLibrary library() {
    return cublas.library();
  }

  boolean addsBias(DType result) {
    return cublas.addsBias(element(result));
  }

  /// A product as the library knows it.
  static Cublas.Product shape(Product p, Matrix a, Matrix b, boolean biased, long c, DType result) {
    return new Cublas.Product(
        element(p.type()),
        element(result),
        Math.toIntExact(p.matrices()),
        p.m(),
        p.n(),
        p.k(),
        a.pitch(),
        b.pitch(),
        p.transposeA(),
        p.transposeB(),
        biased,
        c % Cublas.ALIGNMENT == 0);
  }

  private static Element element(DType type) {
    return type == DType.BF16 ? Element.BF16 : Element.F32;
  }

  /// Whether the library has a kernel for a shape.
  boolean supports(Cublas.Product shape) {
    try {
      plan(shape);
      return true;
    } catch (CudaException e) {
      if (e.status() == Cublas.NOT_SUPPORTED) {
        return false;
      }
      throw e;
    }
  }

  /// Queues a product.
  ///
  /// @throws UnsupportedOpException if the library has no kernel for it
  void multiply(Cublas.Product shape, long a, long b, long bias, long c) {
    context.enter();
    try {
      context.queue().product(plan(shape), version(), a, b, bias, c);
    } catch (CudaException e) {
      if (e.status() == Cublas.NOT_SUPPORTED) {
        throw new UnsupportedOpException(
            "product",
            CudaBackend.NAME,
            "%s has no kernel for %s; --cuda-gemm auto leaves it to Retort's"
                .formatted(version(), GemmTable.name(shape)));
      }
      throw e.in(GemmTable.name(shape));
    }
  }

  private int plan(Cublas.Product shape) {
    Integer known = plans.get(shape);
    if (known != null) {
      return known;
    }
    List<Plan> all = context.products();
    int index = all.size();
    all.add(cublas.plan(shape));
    plans.put(shape, index);
    return index;
  }

  /// The library, or why there is none.
  record Found(Optional<CublasGemm> library, String reason) {
    static Found of(CudaContext context, CudaBinding binding) {
      try {
        return new Found(Optional.of(open(context, binding)), "");
      } catch (NativeLinkError e) {
        return new Found(Optional.empty(), String.valueOf(e.getMessage()));
      }
    }
  }

  @Override
  public void close() {
    context.enter();
    context.await();
    plans.values().forEach(index -> context.products().get(index).close());
    plans.clear();
    cublas.close();
    context.driver().memFreeAsync(workspace.address(), context.stream());
  }
}
