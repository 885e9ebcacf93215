package io.retort;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.backend.CudaBackend;
import io.retort.backend.CudaBinding;
import io.retort.backend.GemmPolicy;
import io.retort.bindings.cuda.CudaEmulator;
import io.retort.bindings.cuda.CudaLibrary;
import io.retort.bindings.cuda.VendorLibrary;
import io.retort.bindings.cuda.VendorLibrary.Kind;
import io.retort.op.Conv2d;
import io.retort.op.Linear;
import io.retort.op.MatMul;
import io.retort.op.Op;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.TestFactory;

/// Every op, every case of [OpContractTest] on CUDA kernels: on the emulator, through both
/// bindings, with threads and blocks in several orders; products by NVIDIA's libraries once more.
final class OpContractCudaTest {
  private static final long[] ORDERS = {0, 1, 2};

  @TestFactory
  Stream<DynamicNode> panama() {
    return cuda(CudaBinding.PANAMA, ORDERS);
  }

  @TestFactory
  Stream<DynamicNode> jcuda() {
    return cuda(CudaBinding.JCUDA, 0);
  }

  @TestFactory
  Stream<DynamicNode> cublasLt() {
    return library(CudaBinding.PANAMA, Kind.CUBLAS_LT);
  }

  @TestFactory
  Stream<DynamicNode> jcublas() {
    return library(CudaBinding.JCUDA, Kind.CUBLAS);
  }

  /// The ops that multiply matrices, by the look-alike of NVIDIA's library.
  private static Stream<DynamicNode> library(CudaBinding binding, Kind kind) {
    CudaBackend backend = CudaBackend.open(binding, CudaLibrary.EMULATOR, GemmPolicy.CUBLAS);
    Set<Class<? extends Op>> always = Set.of(MatMul.class, Linear.class);
    return OpContractTest.everyCase(
        op -> always.contains(op) || op == Conv2d.class,
        checked -> {
          long before = products(kind);
          assertThat(checked.check().check(backend)).isEmpty();
          if (always.contains(checked.contract().op().getClass())) {
            assertThat(products(kind)).as("products of the library").isGreaterThan(before);
          }
        });
  }

  /// How many products the look-alike was given.
  private static long products(Kind kind) {
    CudaLibrary emulator = CudaLibrary.open(CudaLibrary.EMULATOR);
    return VendorLibrary.beside(emulator, kind).orElseThrow().ask("rt_cublas_products");
  }

  private static Stream<DynamicNode> cuda(CudaBinding binding, long... orders) {
    CudaBackend backend = CudaBackend.open(binding, CudaLibrary.EMULATOR);
    CudaEmulator emulator = backend.emulator().orElseThrow();
    return OpContractTest.everyCase(checked -> {
      for (long order : orders) {
        emulator.seed(order);
        assertThat(checked.check().check(backend)).as("order of threads %d", order).isEmpty();
      }
    });
  }
}
