package io.retort.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.CudaUnderTest;
import io.retort.op.Backend;
import io.retort.tensor.DType;
import io.retort.tensor.Philox;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// Adam on the device does what it does on the CPU.
@Tag("device")
final class CudaOptimizerTest {
  private static final CudaBackend CUDA = CudaUnderTest.open();
  private static final Backend CPU = CpuBackend.open();

  /// The arenas of one network on one backend.
  private record Network(
      Backend backend, Scope scope, Tensor value, Tensor gradient, Tensor m, Tensor v, Tensor ema)
      implements AutoCloseable {

    /// Arenas of `n` elements, `offset` elements into their blocks.
    static Network of(Backend backend, int n, int offset) {
      var scope = new Scope(backend.memory());
      Tensor[] arenas = new Tensor[5];
      for (int i = 0; i < arenas.length; i++) {
        Tensor block = scope.allocate(Shape.of(n + offset));
        arenas[i] = block.view(scope, Shape.of(n), offset).set(values(n, i));
      }
      return new Network(backend, scope, arenas[0], arenas[1], arenas[2], arenas[3], arenas[4]);
    }

    /// Normal, but for the second moments, which are positive.
    private static float[] values(int n, int arena) {
      float[] values = new float[n];
      Philox.normals(new PhiloxKey(1, Purpose.INIT, arena, 0), values);
      for (int i = 0; i < n && arena == 3; i++) {
        values[i] *= values[i];
      }
      return values;
    }

    double step(long step, double decay, double clip, boolean averaged) {
      return step(null, step, decay, clip, averaged);
    }

    double step(@Nullable Tensor loss, long step, double decay, double clip, boolean averaged) {
      Tensor norm = scope.allocate(Shape.of(1), DType.I64);
      backend
          .optimizers()
          .adam(
              value,
              gradient,
              m,
              v,
              averaged ? ema : null,
              loss,
              norm,
              step,
              1e-2,
              0.9,
              0.99,
              1e-8,
              decay,
              clip,
              0.95);
      return Double.longBitsToDouble(norm.longs()[0]);
    }

    float[][] state() {
      return new float[][] {value.floats(), m.floats(), v.floats(), ema.floats()};
    }

    @Override
    public void close() {
      scope.close();
    }
  }

  private static void sameAsCpu(
      int n, int offset, double decay, double clip, boolean averaged, float[] gradient) {
    try (var cpu = Network.of(CPU, n, offset);
        var cuda = Network.of(CUDA, n, offset)) {
      if (gradient.length == n) {
        cpu.gradient.set(gradient);
        cuda.gradient.set(gradient);
      }
      for (long step = 1; step <= 3; step++) {
        double expected = cpu.step(step, decay, clip, averaged);
        double norm = cuda.step(step, decay, clip, averaged);
        assertThat(norm).isCloseTo(expected, within(1e-12 * expected));
      }
      float[][] expected = cpu.state();
      float[][] actual = cuda.state();
      for (int arena = 0; arena < expected.length; arena++) {
        for (int i = 0; i < n; i++) {
          float value = expected[arena][i];
          assertThat(actual[arena][i])
              .as("arena %d, element %d", arena, i)
              .isCloseTo(value, within(1e-6f * Math.max(1, Math.abs(value))));
        }
      }
    }
  }

  @Test
  void stepsAreThoseOfTheCpu() {
    for (int n : new int[] {1, 7, 1024, 9001}) {
      sameAsCpu(n, 0, 0, 0, true);
      sameAsCpu(n, 0, 0.1, 0.5, false);
    }
  }

  private static void sameAsCpu(int n, int offset, double decay, double clip, boolean averaged) {
    sameAsCpu(n, offset, decay, clip, averaged, new float[0]);
  }

  @Test
  void arenasMayBeginAnywhere() {
    sameAsCpu(4099, 1, 0.1, 0.5, true);
  }

  @Test
  void aNormAboveTheClipScalesTheGradient() {
    float[] gradient = {3e-3f, -4e-3f};
    sameAsCpu(2, 0, 0, 5e-3 * 0.999, true, gradient);
    sameAsCpu(2, 0, 0, 5e-3 * 1.001, true, gradient);
  }

  @Test
  void squaresThatFloat32CannotHoldAreNoInfinity() {
    sameAsCpu(3, 0, 0, 1, true, new float[] {1e30f, -2e30f, 1});
    sameAsCpu(2, 0, 0, 1e-30, true, new float[] {1e-30f, 1e-25f});
  }

  @Test
  void aGradientThatIsNotFiniteChangesNothing() {
    for (float wrong : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
      try (var network = Network.of(CUDA, 1500, 0)) {
        float[] gradient = network.gradient.floats();
        gradient[1234] = wrong;
        network.gradient.set(gradient);
        float[][] before = network.state();

        assertThat(network.step(1, 0.1, 0.5, true)).isNotFinite();
        assertThat(network.state()).isDeepEqualTo(before);
      }
    }
  }

  @Test
  void aLossThatIsNotFiniteChangesNothing() {
    for (Backend backend : List.of(CPU, CUDA)) {
      try (var network = Network.of(backend, 1500, 0)) {
        Tensor loss = network.scope.of(Shape.of(1), Float.POSITIVE_INFINITY);
        float[][] before = network.state();
        assertThat(network.step(loss, 1, 0.1, 0.5, true)).isNaN();
        assertThat(network.state()).isDeepEqualTo(before);

        assertThat(network.step(loss.set(3f), 1, 0.1, 0.5, true)).isFinite();
        assertThat(network.state()[0]).isNotEqualTo(before[0]);
      }
    }
  }

  @Test
  void nothingToUpdateHasNormZero() {
    try (var network = Network.of(CUDA, 0, 0)) {
      assertThat(network.step(1, 0, 1, true)).isZero();
    }
  }

  @Test
  void stepsCountFromOne() {
    try (var network = Network.of(CUDA, 1, 0)) {
      assertThatThrownBy(() -> network.step(0, 0, 0, false))
          .hasMessageContaining("step must be >= 1, got 0");
    }
  }
}
