package io.retort.bindings.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.retort.bindings.NativeLinkError;
import io.retort.bindings.cuda.Cublas.Element;
import io.retort.bindings.cuda.Cublas.Plan;
import io.retort.bindings.cuda.Cublas.Product;
import io.retort.bindings.cuda.Cublas.Workspace;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/// Where cuBLASLt and its caller do not agree.
final class CublasLtTest {
  private static final Product PRODUCT =
      new Product(Element.BF16, Element.BF16, 1, 8, 8, 8, 8, 8, false, true, false, true);

  private final CudaLibrary opened = CudaLibrary.open(CudaLibrary.EMULATOR);
  private final CudaDriver driver = PanamaDriver.open(opened);
  private final int device = driver.deviceGet(0);
  private final long stream;
  private final long memory;
  private final VendorLibrary library =
      VendorLibrary.beside(opened, VendorLibrary.Kind.CUBLAS_LT).orElseThrow();

  CublasLtTest() {
    driver.ctxSetCurrent(driver.devicePrimaryCtxRetain(device));
    stream = driver.streamCreate();
    memory = driver.memAllocAsync(1 << 14, stream);
  }

  @AfterEach
  void everythingIsGivenBack() {
    driver.memFreeAsync(memory, stream);
    driver.streamDestroy(stream);
    driver.devicePrimaryCtxRelease(device);
    assertThat(library.ask("rt_cublas_live")).isZero();
  }

  private CublasLt open(long workspaceBytes) {
    return CublasLt.open(library, new Workspace(memory + 8192, workspaceBytes), stream);
  }

  @Test
  void aHandleThatIsClosedIsNone() {
    CublasLt cublas = open(8192);
    Plan plan = cublas.plan(PRODUCT);
    cublas.close();

    assertThatExceptionOfType(CudaException.class)
        .isThrownBy(() -> plan.multiply(memory, memory + 1024, 0, memory + 2048))
        .withMessage(
            "cublasLtMatmul: the handle is none, or CUDA failed (CUBLAS_STATUS_NOT_INITIALIZED,"
                + " 1)");
    assertThatExceptionOfType(CudaException.class)
        .isThrownBy(() -> cublas.plan(PRODUCT))
        .withMessageStartingWith("cublasLtMatmulAlgoGetHeuristic: the handle is none");
    plan.close();
  }

  @Test
  void aPlanThatIsClosedIsNone() {
    try (CublasLt cublas = open(8192)) {
      Plan plan = cublas.plan(PRODUCT);
      plan.close();

      assertThatExceptionOfType(CudaException.class)
          .isThrownBy(() -> plan.multiply(memory, memory + 1024, 0, memory + 2048))
          .withMessageContaining("(CUBLAS_STATUS_INVALID_VALUE, 7)");
      assertThatExceptionOfType(CudaException.class)
          .isThrownBy(plan::close)
          .withMessageStartingWith("cublasLtMatmulDescDestroy: ");
    }
  }

  @Test
  void addressesThatAreNotAlignedAreRefused() {
    try (CublasLt cublas = open(8192);
        Plan plan = cublas.plan(PRODUCT)) {
      assertThatExceptionOfType(CudaException.class)
          .isThrownBy(() -> plan.multiply(memory + 8, memory + 1024, 0, memory + 2048))
          .withMessageContaining("(CUBLAS_STATUS_INVALID_VALUE, 7)");
    }
  }

  @Test
  void withoutWorkspaceThereIsNoAlgorithm() {
    try (CublasLt cublas = open(64)) {
      assertThatExceptionOfType(CudaException.class)
          .isThrownBy(() -> cublas.plan(PRODUCT))
          .withMessageStartingWith("cublasLtMatmulAlgoGetHeuristic: the library has no kernel");
    }
  }

  @Test
  void anOldLibraryIsRefused() {
    version(110803);
    try {
      assertThatExceptionOfType(NativeLinkError.class)
          .isThrownBy(() -> open(8192))
          .withMessage("%s is cuBLASLt 11.8.3, Retort calls 12.0 or newer".formatted(library));
    } finally {
      version(130000);
    }
  }

  private void version(long number) {
    var set =
        Linker.nativeLinker()
            .downcallHandle(
                SymbolLookup.libraryLookup(library.file(), Arena.global())
                    .findOrThrow("rt_cublas_set_version"),
                FunctionDescriptor.ofVoid(ValueLayout.JAVA_LONG));
    try {
      set.invokeExact(number);
    } catch (Throwable e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void anotherLibraryIsNamedWithWhatItLacks() {
    var other = VendorLibrary.beside(opened, VendorLibrary.Kind.CUBLAS).orElseThrow();

    assertThatExceptionOfType(NativeLinkError.class)
        .isThrownBy(() -> CublasLt.open(other, new Workspace(memory, 8192), stream))
        .withMessage(
            "%s has no cublasLtGetVersion: it is another library, or of another version than CUDA 12 or 13"
                .formatted(other));
  }
}
