package io.retort;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.backend.CudaBackend;
import io.retort.backend.CudaBinding;
import io.retort.bindings.cuda.CudaEmulator;
import io.retort.bindings.cuda.CudaLibrary;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.TestFactory;

/// Every op, every case of [OpContractTest] on CUDA kernels: on the emulator, through both
/// bindings, with threads and blocks in several orders.
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
