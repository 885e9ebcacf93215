package io.retort.grad;

import static org.assertj.core.api.Assertions.assertThat;

import io.retort.CudaUnderTest;
import io.retort.backend.CudaBackend;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.PhiloxKey.Purpose;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// A backward pass is queued again without being walked only where it is the same.
@Tag("device")
final class CapturedTapeTest {
  private static final float[] X = {1, -2, 3};

  private final CudaBackend cuda = CudaUnderTest.open();

  @BeforeEach
  void collect() {
    cuda.useGraphs(true, remark -> {});
  }

  @AfterEach
  void launchOneByOne() {
    cuda.useGraphs(false, remark -> {});
  }

  /// The gradient of the sum of `f(factor x)`.
  private float[] gradient(float factor, UnaryOperator<Var> f) {
    try (Scope scope = new Scope(cuda.memory())) {
      Tensor sink =
          cuda.together(
              "gradient",
              () -> {
                Tensor x = scope.of(Shape.of(3), factor * X[0], factor * X[1], factor * X[2]);
                Tensor zero = scope.allocate(Shape.of(3)).zero();
                Tape tape = new Tape(cuda, scope, Set.of());
                tape.backward(f.apply(tape.tracked(x, zero)).sum());
                return zero;
              });
      return sink.floats();
    }
  }

  @Test
  void gradientsAreThoseOfEachRunsData() {
    for (int i = 1; i <= 5; i++) {
      assertThat(gradient(i, x -> x.mul(x))).containsExactly(2 * i, -4 * i, 6 * i);
    }
  }

  /// The forward kernels are the same, with the same arguments; what is detached is not.
  @Test
  void stoppingAGradientIsAnotherBackwardPass() {
    for (int i = 1; i <= 4; i++) {
      assertThat(gradient(i, x -> x.mul(x))).containsExactly(2 * i, -4 * i, 6 * i);
      assertThat(gradient(i, x -> x.mul(x.detach()))).containsExactly(i, -2 * i, 3 * i);
    }
  }

  @Test
  void masksOfEveryStepAreItsOwn() {
    PhiloxKey[] keys = new PhiloxKey[6];
    float[][] collected = new float[6][];
    for (int step = 0; step < 6; step++) {
      keys[step] = new PhiloxKey(3, Purpose.DROPOUT, 1, step);
      PhiloxKey key = keys[step];
      collected[step] = gradient(1, x -> x.dropout(0.5, key));
    }
    cuda.useGraphs(false, remark -> {});
    for (int step = 0; step < 6; step++) {
      PhiloxKey key = keys[step];
      assertThat(collected[step]).isEqualTo(gradient(1, x -> x.dropout(0.5, key)));
    }
  }
}
