package io.retort.bindings.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.retort.bindings.cuda.Cublas.Element;
import io.retort.bindings.cuda.Cublas.Plan;
import io.retort.bindings.cuda.Cublas.Product;
import io.retort.bindings.cuda.Cublas.Workspace;
import io.retort.bindings.jcuda.JCublas;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

/// Every call of [Cublas] on the emulator's look-alikes, through both bindings.
@ParameterizedClass
@EnumSource(names = {"CUBLAS_LT", "CUBLAS"})
final class CublasTest {
  private static final int INVALID_VALUE = 7;

  private final CudaDriver driver;
  private final CudaEmulator emulator;
  private final int device;
  private final long stream;
  private final Workspace workspace;
  private final Cublas cublas;
  private final MemorySegment host;
  private final long memory;

  CublasTest(VendorLibrary.Kind kind) {
    var opened = CudaLibrary.open(CudaLibrary.EMULATOR);
    driver = PanamaDriver.open(opened);
    emulator = opened.emulator().orElseThrow();
    device = driver.deviceGet(0);
    driver.ctxSetCurrent(driver.devicePrimaryCtxRetain(device));
    stream = driver.streamCreate();
    workspace = new Workspace(driver.memAllocAsync(1 << 16, stream), 1 << 16);
    host = driver.memHostAlloc(4096);
    memory = driver.memAllocAsync(4096, stream);
    var library = VendorLibrary.beside(opened, kind).orElseThrow();
    cublas =
        kind == VendorLibrary.Kind.CUBLAS
            ? JCublas.open(library, workspace, stream)
            : CublasLt.open(library, workspace, stream);
  }

  @AfterEach
  void nothingIsLeft() {
    cublas.close();
    driver.memFreeAsync(memory, stream);
    driver.memFreeAsync(workspace.address(), stream);
    driver.memFreeHost(host);
    driver.streamDestroy(stream);
    driver.devicePrimaryCtxRelease(device);
    assertThat(emulator.count(CudaEmulator.Count.LEAKS)).isZero();
    if (cublas instanceof CublasLt) {
      assertThat(cublas.library().ask("rt_cublas_live")).isZero();
    }
  }

  private static Product product(int count, boolean transposeA, boolean transposeB) {
    return new Product(
        Element.F32,
        Element.F32,
        count,
        2,
        3,
        4,
        transposeA ? 4 : 8,
        4,
        transposeA,
        transposeB,
        false,
        true);
  }

  /// Element (i, j) of the b-th matrix of a side is `10 side + 5 b + i + j / 2`, stored with a
  /// pitch, transposed or not.
  private void fill(int at, int side, int count, int rows, int columns, int pitch, boolean turned) {
    for (int b = 0; b < count; b++) {
      for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j++) {
          int stored =
              (b * (turned ? columns : rows) + (turned ? j : i)) * pitch + (turned ? i : j);
          host.setAtIndex(ValueLayout.JAVA_FLOAT, at + stored, value(side, b, i, j));
        }
      }
    }
  }

  private static float value(int side, int b, int i, int j) {
    return 10 * side + 5 * b + i + j / 2f;
  }

  @Test
  void productsOfRowMajorMatrices() {
    for (int count : new int[] {1, 3}) {
      for (boolean transposeA : new boolean[] {false, true}) {
        for (boolean transposeB : new boolean[] {false, true}) {
          multiplies(product(count, transposeA, transposeB));
        }
      }
    }
  }

  private void multiplies(Product p) {
    host.fill((byte) 0);
    fill(0, 1, p.count(), 2, 4, (int) p.pitchA(), p.transposeA());
    fill(256, 2, p.count(), 4, 3, (int) p.pitchB(), p.transposeB());
    driver.memcpyHtoDAsync(memory, host.address(), 4096, stream);
    try (Plan plan = cublas.plan(p)) {
      plan.multiply(memory, memory + 1024, 0, memory + 2048);
      assertThat(driver.streamQuery(stream)).as("queued, not done").isFalse();
    }
    driver.memcpyDtoHAsync(host.address(), memory, 4096, stream);
    driver.streamSynchronize(stream);
    for (int b = 0; b < p.count(); b++) {
      for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 3; j++) {
          float sum = 0;
          for (int k = 0; k < 4; k++) {
            sum += value(1, b, i, k) * value(2, b, k, j);
          }
          assertThat(host.getAtIndex(ValueLayout.JAVA_FLOAT, 512 + (b * 2 + i) * 3 + j))
              .as("%s, matrix %d, (%d, %d)", p, b, i, j)
              .isEqualTo(sum);
        }
      }
    }
  }

  @Test
  void aGraphReplaysAProduct() {
    host.fill((byte) 0);
    fill(0, 1, 1, 2, 4, 8, false);
    fill(256, 2, 1, 4, 3, 4, false);
    driver.memcpyHtoDAsync(memory, host.address(), 4096, stream);
    try (Plan plan = cublas.plan(product(1, false, false))) {
      driver.streamBeginCapture(stream);
      plan.multiply(memory, memory + 1024, 0, memory + 2048);
      long graph = driver.streamEndCapture(stream);
      long executable = driver.graphInstantiate(graph);
      for (int replay = 0; replay < 2; replay++) {
        driver.memsetD8Async(memory + 2048, (byte) 0, 24, stream);
        driver.graphLaunch(executable, stream);
        driver.memcpyDtoHAsync(host.address(), memory + 2048, 4, stream);
        driver.streamSynchronize(stream);
        assertThat(host.get(ValueLayout.JAVA_FLOAT, 0))
            .isEqualTo(10 * 20 + 10.5f * 21 + 11 * 22 + 11.5f * 23);
      }
      driver.graphExecDestroy(executable);
      driver.graphDestroy(graph);
    }
  }

  @Test
  void memoryThatIsTooShortIsRefused() {
    try (Plan plan = cublas.plan(product(1, false, false))) {
      assertThatExceptionOfType(CudaException.class)
          .isThrownBy(() -> plan.multiply(memory, memory + 1024, 0, memory + 4080))
          .satisfies(e -> assertThat(e.status()).isEqualTo(INVALID_VALUE))
          .withMessageStartingWith(
              cublas instanceof CublasLt ? "cublasLtMatmul: " : "cublasGemmStridedBatchedEx: ")
          .withMessageContaining("(CUBLAS_STATUS_INVALID_VALUE, 7)");
    }
  }

  @Test
  void typesWithoutKernelAreRefused() {
    var wide = new Product(Element.F32, Element.BF16, 1, 2, 3, 4, 8, 4, false, false, false, true);
    assertThatExceptionOfType(CudaException.class)
        .isThrownBy(() -> {
          try (Plan plan = cublas.plan(wide)) {
            plan.multiply(memory, memory + 1024, 0, memory + 2048);
          }
        })
        .satisfies(e -> assertThat(e.status()).isEqualTo(Cublas.NOT_SUPPORTED))
        .withMessageContaining("CUBLAS_STATUS_NOT_SUPPORTED, 15");
  }

  @Test
  void itTellsWhatItIs() {
    assertThat(cublas.version())
        .isEqualTo(cublas instanceof CublasLt ? "cuBLASLt 13.0.0" : "cuBLAS 12.6.0");
    assertThat(cublas.addsBias(Element.BF16)).isFalse();
  }
}
