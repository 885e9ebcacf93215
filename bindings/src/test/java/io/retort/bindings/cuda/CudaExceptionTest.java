package io.retort.bindings.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

final class CudaExceptionTest {

  @Test
  void aFailureNamesCallKernelReasonAndStatus() {
    var failure =
        new CudaException(
            "cuLaunchKernel",
            701,
            "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
            "too many resources requested for launch");

    assertThat(failure.in("rt_axpby_f32"))
        .hasMessage(
            "cuLaunchKernel of rt_axpby_f32: too many resources requested for launch"
                + " (CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, 701)");
    assertThat(failure.in("rt_axpby_f32").kernel()).isEqualTo("rt_axpby_f32");
    assertThat(failure.sticky()).isFalse();
  }

  @Test
  void aLostContextIsSaid() {
    var failure =
        new CudaException(
            "cuStreamSynchronize",
            700,
            "CUDA_ERROR_ILLEGAL_ADDRESS",
            "an illegal memory access was encountered");

    assertThat(failure.sticky()).isTrue();
    assertThat(failure.because("the last kernel launched was rt_x"))
        .hasMessage(
            "cuStreamSynchronize: an illegal memory access was encountered; the last kernel"
                + " launched was rt_x (CUDA_ERROR_ILLEGAL_ADDRESS, 700); the device's context is"
                + " lost")
        .satisfies(other -> assertThat(other.getStackTrace()).isEqualTo(failure.getStackTrace()));
  }

  @Test
  void whatHelpsIsSaid() {
    assertThat(new CudaException("cuModuleLoadDataEx", 222, "CUDA_ERROR_X", "bad PTX"))
        .hasMessageEndingWith("; the driver is older than the kernels, update it");
    assertThat(new CudaException("cuInit", 34, "CUDA_ERROR_STUB_LIBRARY", "stub"))
        .hasMessageContaining("not the driver");
  }
}
