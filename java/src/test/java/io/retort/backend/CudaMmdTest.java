package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.retort.bindings.cuda.CudaLibrary;
import io.retort.bindings.cuda.PanamaDriver;
import io.retort.op.MmdKernel;
import io.retort.op.MmdKernels;
import io.retort.tensor.Memory;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/// What only large samples make the kernels do, forced on small ones: large tiles, strips of
/// weights, sums in parts; and the value alone. The CPU says what is right.
final class CudaMmdTest {
  private static final PanamaDriver DRIVER =
      PanamaDriver.open(CudaLibrary.open(CudaLibrary.EMULATOR));
  private static final CudaContext CONTEXT =
      CudaContext.open(DRIVER, CudaDevice.list(DRIVER).getFirst());
  private static final CpuBackend CPU = CpuBackend.open();

  /// Rounding of 20 to 300 products in different orders, relative to the largest result.
  private static final double EXACT = 2e-6;

  @AfterAll
  static void close() {
    CONTEXT.close();
  }

  static List<MmdKernel> kernels() {
    return List.of(
        new MmdKernel.Linear(),
        MmdKernel.Rbf.standard(),
        MmdKernel.Polynomial.kid(20),
        new MmdKernel.Energy());
  }

  /// Loss, then gradient.
  private static float[] result(
      MmdKernels mmd, Memory memory, MmdKernel kernel, int n, int m, int d, boolean differentiate) {
    try (var scope = new Scope(memory)) {
      Random random = new Random(3);
      Tensor u = normal(scope, random, n, d, 0);
      Tensor v = normal(scope, random, m, d, 0.5);
      Tensor loss = scope.allocate(Shape.of());
      Tensor gradient = differentiate ? scope.allocate(u.shape()) : null;
      mmd.mmd(kernel, true, u, v, loss, gradient);
      float[] value = loss.floats();
      float[] slope = gradient == null ? new float[0] : gradient.floats();
      float[] all = Arrays.copyOf(value, 1 + slope.length);
      System.arraycopy(slope, 0, all, 1, slope.length);
      return all;
    }
  }

  private static Tensor normal(Scope scope, Random random, int rows, int d, double mean) {
    float[] values = new float[rows * d];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (mean + random.nextGaussian());
    }
    return scope.of(Shape.of(rows, d), values);
  }

  private static void compare(
      CudaMmd mmd, MmdKernel kernel, int n, int m, int d, boolean differentiate) {
    float[] expected = result(CPU.mmd(), CPU.memory(), kernel, n, m, d, differentiate);
    float[] actual = result(mmd, CONTEXT.memory(), kernel, n, m, d, differentiate);
    assertThat(actual).hasSameSizeAs(expected);
    assertThat((double) actual[0]).isCloseTo(expected[0], within(EXACT * 5));
    double largest = 0;
    for (int i = 1; i < expected.length; i++) {
      largest = Math.max(largest, Math.abs(expected[i]));
    }
    for (int i = 1; i < expected.length; i++) {
      assertThat((double) actual[i]).isCloseTo(expected[i], within(10 * EXACT * largest));
    }
  }

  @ParameterizedTest
  @MethodSource("kernels")
  void largeTilesAndStrips(MmdKernel kernel) {
    compare(new CudaMmd(CONTEXT, 0, 1), kernel, 140, 131, 20, true);
    compare(new CudaMmd(CONTEXT, 0, 1), kernel, 130, 140, 5, false);
  }

  @ParameterizedTest
  @MethodSource("kernels")
  void partsOfProducts(MmdKernel kernel) {
    compare(new CudaMmd(CONTEXT), kernel, 70, 3, 300, true);
    compare(new CudaMmd(CONTEXT), kernel, 3, 66, 260, false);
  }

  @Test
  void moreWidthsThanOneLaunchTakes() {
    var rbf = new MmdKernel.Rbf(List.of(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 2.0));
    compare(new CudaMmd(CONTEXT), rbf, 5, 7, 6, true);
  }

  @Test
  void pointsThatCoincide() {
    try (var scope = new Scope(CONTEXT.memory())) {
      float[] same = new float[4 * 3];
      Arrays.fill(same, 1000.25f);
      Tensor u = scope.of(Shape.of(4, 3), same);
      Tensor v = scope.of(Shape.of(4, 3), same);
      Tensor loss = scope.allocate(Shape.of());
      Tensor gradient = scope.allocate(u.shape());
      for (MmdKernel kernel : kernels()) {
        if (!(kernel instanceof MmdKernel.Polynomial)) {
          new CudaMmd(CONTEXT).mmd(kernel, true, u, v, loss, gradient);
          assertThat(loss.item()).as(kernel.toString()).isZero();
          assertThat(gradient.floats()).as(kernel.toString()).containsOnly(0f);
        }
      }
    }
  }

  @Test
  void notANumberStays() {
    try (var scope = new Scope(CONTEXT.memory())) {
      Tensor u = scope.of(Shape.of(2, 2), 1f, Float.NaN, 3f, 4f);
      Tensor v = scope.of(Shape.of(2, 2), 1f, 2f, 3f, 5f);
      Tensor loss = scope.allocate(Shape.of());
      for (MmdKernel kernel : kernels()) {
        new CudaMmd(CONTEXT).mmd(kernel, false, u, v, loss, null);
        assertThat(loss.item()).as(kernel.toString()).isNaN();
      }
    }
  }
}
