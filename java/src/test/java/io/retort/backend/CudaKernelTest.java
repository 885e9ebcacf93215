package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.retort.bindings.NativeLinkError;
import io.retort.bindings.cuda.CudaException;
import io.retort.bindings.cuda.CudaLibrary;
import io.retort.bindings.cuda.PanamaDriver;
import io.retort.op.UnsupportedOpException;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/// What a wrong launch says, and that it is said before anything runs.
final class CudaKernelTest {
  private final PanamaDriver driver = PanamaDriver.open(CudaLibrary.open(CudaLibrary.EMULATOR));
  private final CudaContext context = CudaContext.open(driver, CudaDevice.list(driver).getFirst());
  private final CudaModule module = new CudaModule(context, "elementwise");

  @AfterEach
  void theContextIsFine() {
    context.enter();
    context.close();
  }

  @Test
  void aKernelRuns() {
    try (Scope scope = new Scope(context.memory())) {
      Tensor x = scope.of(Shape.of(3), 1f, 2f, 3f);

      module
          .kernel("rt_affine_f32", "pffpl")
          .begin()
          .pointer(x)
          .f32(2)
          .f32(1)
          .pointer(x)
          .i64(3)
          .over(3, 4);

      assertThat(x.floats()).containsExactly(3, 5, 7);
    }
  }

  @Test
  void anUnknownKernelIsNamed() {
    assertThatExceptionOfType(CudaException.class)
        .isThrownBy(() -> module.kernel("rt_no_such_kernel", "p"))
        .withMessageStartingWith("cuModuleGetFunction of rt_no_such_kernel: ")
        .withMessageContaining("in the kernels of elementwise");
  }

  @Test
  void anUnknownFamilyIsNamed() {
    assertThatThrownBy(() -> new CudaModule(context, "telepathy"))
        .isInstanceOf(NativeLinkError.class)
        .hasMessageContaining("emulator/telepathy.so");
  }

  @Test
  void aWrongSignatureIsAnErrorBeforeAnyLaunch() {
    assertThatThrownBy(() -> module.kernel("rt_affine_f32", "pfdpl"))
        .isInstanceOf(NativeLinkError.class)
        .hasMessage(
            "rt_affine_f32: Java passes (pfdpl), the kernel takes 4 bytes at offset 12 as"
                + " parameter 3");
    assertThatThrownBy(() -> module.kernel("rt_affine_f32", "pffp"))
        .isInstanceOf(NativeLinkError.class)
        .hasMessage("rt_affine_f32: Java passes (pffp), the kernel takes more");
    assertThatThrownBy(() -> module.kernel("rt_affine_f32", "pffpll"))
        .isInstanceOf(NativeLinkError.class)
        .hasMessage("rt_affine_f32: Java passes (pffpll), the kernel takes 5 parameters");
    assertThatThrownBy(() -> module.kernel("rt_affine_f32", "pffpx"))
        .isInstanceOf(NativeLinkError.class)
        .hasMessageContaining("letters are p, l, i, f, d and k, got x");
  }

  @Test
  void wrongArgumentsAreNotLaunched() {
    CudaKernel affine = module.kernel("rt_affine_f32", "pffpl");

    assertThatThrownBy(() -> affine.begin().address(0).i64(1))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("rt_affine_f32: takes (pffpl), got l as argument 2");
    assertThatThrownBy(() -> affine.begin().address(0).f32(1).over(1, 1))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("rt_affine_f32: takes (pffpl), got 2 arguments");
  }

  @Test
  void impossibleLaunchesAreRefusedWithTheKernelsName() {
    CudaKernel affine = module.kernel("rt_affine_f32", "pffpl");

    assertThatThrownBy(() -> filled(affine).launch(1, 70_000, 1, 32, 0))
        .hasMessageStartingWith("rt_affine_f32: a grid must be at most");
    assertThatThrownBy(() -> filled(affine).launch(1, 32, 1 << 20))
        .hasMessage(
            "rt_affine_f32: asks for 1048576 bytes of shared memory a block, Retort emulator sm_90"
                + " has 232448");
    assertThatExceptionOfType(CudaException.class)
        .isThrownBy(() -> filled(affine).launch(1, 2048))
        .withMessageStartingWith("cuLaunchKernel of rt_affine_f32: ")
        .satisfies(e -> assertThat(e.sticky()).isFalse());
  }

  private static CudaKernel filled(CudaKernel affine) {
    return affine.begin().address(0).f32(0).f32(0).address(0).i64(0);
  }

  @Test
  void aGridOfNothingIsNoLaunch() {
    filled(module.kernel("rt_affine_f32", "pffpl")).over(0, 4);
    context.synchronize();
  }

  @Test
  void aTypeWithoutKernelIsUnsupported() {
    assertThatThrownBy(() -> module.typed("rt_affine", "pffpl").begin(DType.I64))
        .isInstanceOf(UnsupportedOpException.class)
        .hasMessage("rt_affine: not supported on cuda (no kernel for I64)");
  }

  @Test
  void aBlocksWorthOfThreadsFillsTheDevice() {
    assertThat(module.kernel("rt_affine_f32", "pffpl").residentBlocks(256, 0))
        .isGreaterThanOrEqualTo(context.device().multiprocessors());
  }

  /// Runs on the second device, whose context is lost afterwards.
  @Test
  void aLostContextSaysWhichKernelWasLast() {
    CudaContext other = CudaContext.open(driver, CudaDevice.list(driver).get(1));
    CudaKernel affine = new CudaModule(other, "elementwise").kernel("rt_affine_f32", "pffpl");

    long block = other.memory().allocate(64);

    other.memory().zero(block, 64);

    affine.begin().address(block).f32(1).f32(1).address(block + 32).i64(16).over(16, 4);

    assertThatExceptionOfType(CudaException.class)
        .isThrownBy(other::synchronize)
        .withMessageContaining("the last kernel launched was rt_affine_f32")
        .withMessageEndingWith("the device's context is lost")
        .satisfies(e -> assertThat(e.sticky()).isTrue());
    assertThatExceptionOfType(CudaException.class)
        .isThrownBy(() -> other.memory().zero(other.memory().allocate(4), 4))
        .satisfies(e -> assertThat(e.sticky()).isTrue());
  }
}
