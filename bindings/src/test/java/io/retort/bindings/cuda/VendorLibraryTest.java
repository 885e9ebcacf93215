package io.retort.bindings.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.retort.bindings.NativeLinkError;
import io.retort.bindings.cuda.VendorLibrary.Kind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Where libraries are looked for, with the look-alike in the place of NVIDIA's.
final class VendorLibraryTest {
  @TempDir private Path home;

  private Path put(String folder) throws IOException {
    CudaLibrary.open(CudaLibrary.EMULATOR); // the look-alike needs it
    Path file = home.resolve(folder).resolve("libcublasLt.so.13");
    Files.createDirectories(file.getParent());
    return Files.copy(CudaImages.beside("libcublasLt.so.13"), file);
  }

  private static Path found(String variable, Path value) {
    return VendorLibrary.find(Kind.CUBLAS_LT, Map.of(variable, value.toString()))
        .orElseThrow()
        .file();
  }

  @Test
  void inAToolkit() throws IOException {
    Path file = put("lib64");

    assertThat(found("CUDA_HOME", home)).isEqualTo(file);
    assertThat(found("CUDA_PATH", home)).isEqualTo(file);
  }

  /// The loader, which is asked before, has the look-alike already where a test of another kind
  /// ran.
  @Test
  void inAWheelOfAVirtualEnvironment() throws IOException {
    Path file = put("lib/python3.12/site-packages/nvidia/cublas/lib");

    assertThat(VendorLibrary.wheels(Map.of("VIRTUAL_ENV", home.toString())))
        .contains(file.getParent(), Path.of("/opt/conda/lib"));
  }

  @Test
  void whereItsVariableSaysAndNowhereElse() throws IOException {
    Path file = put("elsewhere");

    assertThat(found("RETORT_CUBLASLT", file)).isEqualTo(file);
    Path wrong = home.resolve("libcublasLt.so.12");
    assertThatExceptionOfType(NativeLinkError.class)
        .isThrownBy(() -> found("RETORT_CUBLASLT", wrong))
        .withMessage("%s: there is no such file".formatted(wrong));
    Files.writeString(wrong, "no library");
    assertThatExceptionOfType(NativeLinkError.class)
        .isThrownBy(() -> found("RETORT_CUBLASLT", wrong))
        .withMessage("%s cannot be loaded".formatted(wrong));
  }

  @Test
  void whatDoesNotLoadIsPassedOver() throws IOException {
    Path broken = home.resolve("lib64").resolve("libcublasLt.so.13");
    Files.createDirectories(broken.getParent());
    Files.writeString(broken, "no library");
    Path file = put("lib");

    assertThat(found("CUDA_HOME", home)).isEqualTo(file);
  }

  @Test
  void theEmulatorHasItsOwnAndNoOther() {
    var emulator = CudaLibrary.open(CudaLibrary.EMULATOR);

    assertThat(VendorLibrary.beside(emulator, Kind.CUBLAS_LT).orElseThrow().file())
        .isEqualTo(CudaImages.beside("libcublasLt.so.13"));
    assertThat(VendorLibrary.beside(emulator, Kind.CUDNN)).isEmpty();
  }

  @Test
  void aMissingLibraryIsDescribed() {
    assertThat(VendorLibrary.missing(Kind.CUBLAS_LT))
        .startsWith("there is no cuBLASLt: libcublasLt.so.13 or libcublasLt.so.12 is not in")
        .endsWith("RETORT_CUBLASLT can name the file");
  }

  @Test
  void cudnnIsToldByItsVersionAndFunctions() {
    assertThat(Cublas.version(91300)).isEqualTo("9.13.0");
    var other =
        VendorLibrary.beside(CudaLibrary.open(CudaLibrary.EMULATOR), Kind.CUBLAS).orElseThrow();
    assertThatExceptionOfType(NativeLinkError.class)
        .isThrownBy(() -> Cudnn.of(other))
        .withMessageStartingWith("%s has no cudnnGetVersion: ".formatted(other));
    assertThat(new Cudnn(other, "9.13.0", 9))
        .hasToString("9.13.0 (%s), 9 of the 9 functions of its graph interface".formatted(other));
  }
}
