package io.retort.distill;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.retort.backend.CpuBackend;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Backend;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Random;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.Function;
import java.util.function.ToDoubleFunction;
import org.junit.jupiter.api.Test;

/// Rewards against float64 ones, gradients against finite differences of those.
class RewardsTest {
  private static final int SIDE = 5;

  private static void check(Shape shape, Function<Var, Var> loss, ToDoubleFunction<double[]> wide) {
    Backend cpu = CpuBackend.open();
    Random random = new Random(6);
    double[] x = new double[Math.toIntExact(shape.elements())];
    float[] narrow = new float[x.length];
    for (int i = 0; i < x.length; i++) {
      narrow[i] = (float) random.nextGaussian();
      x[i] = narrow[i];
    }
    try (Scope scope = new Scope(cpu.memory())) {
      Tape tape = new Tape(cpu, scope, Set.of());
      Tensor sink = scope.zeros(shape, DType.F32);
      Var total = loss.apply(tape.tracked(scope.of(shape, narrow), sink));
      tape.backward(total);

      assertThat((double) total.item()).isCloseTo(wide.applyAsDouble(x), within(1e-5));
      for (int i = 0; i < x.length; i++) {
        double before = x[i];
        x[i] = before + 1e-6;
        double above = wide.applyAsDouble(x);
        x[i] = before - 1e-6;
        double below = wide.applyAsDouble(x);
        x[i] = before;
        assertThat((double) sink.floats()[i]).isCloseTo((above - below) / 2e-6, within(1e-5));
      }
    }
  }

  /// Mean absolute Laplacian of two images of two channels.
  private static double sharpness(double[] x) {
    double sum = 0;
    for (int n = 0; n < 2; n++) {
      for (int row = 1; row < SIDE - 1; row++) {
        for (int column = 1; column < SIDE - 1; column++) {
          for (int c = 0; c < 2; c++) {
            double middle = x[((n * SIDE + row) * SIDE + column) * 2 + c];
            double around =
                x[((n * SIDE + row - 1) * SIDE + column) * 2 + c]
                    + x[((n * SIDE + row + 1) * SIDE + column) * 2 + c]
                    + x[((n * SIDE + row) * SIDE + column - 1) * 2 + c]
                    + x[((n * SIDE + row) * SIDE + column + 1) * 2 + c];
            sum += (n + 1) * Math.abs(4 * middle - around) / (9 * 2);
          }
        }
      }
    }
    return sum;
  }

  @Test
  void sharpnessIsTheMeanAbsoluteLaplacian() {
    check(
        Shape.of(2, SIDE, SIDE, 2),
        x -> Rewards.sharpness(x).mul(x.tape().constant(Shape.of(2), 1f, 2f)).sum(),
        RewardsTest::sharpness);
  }

  /// Deviations are constants: the derivative is that of the sum over them.
  @Test
  void rewardsAreCountedInDeviationsOfTheirGroup() {
    Backend cpu = CpuBackend.open();
    try (Scope scope = new Scope(cpu.memory())) {
      Tape tape = new Tape(cpu, scope, Set.of());
      Tensor sink = scope.zeros(Shape.of(4), DType.F32);
      Var rewards = tape.tracked(scope.of(Shape.of(4), 1f, 3f, 10f, 30f), sink);

      Var scaled = Rewards.scaled(rewards, 2);
      tape.backward(scaled.sum());

      double small = 1 / Math.sqrt(1 + 1e-4);
      double large = 1 / Math.sqrt(100 + 1e-4);
      assertThat(scaled.value().floats())
          .usingComparatorWithPrecision(1e-5f)
          .containsExactly(
              (float) small, (float) (3 * small), (float) (10 * large), (float) (30 * large));
      assertThat(sink.floats())
          .usingComparatorWithPrecision(1e-5f)
          .containsExactly((float) small, (float) small, (float) large, (float) large);
    }
  }

  @Test
  void unitsDoNotMatterToTheMixture() {
    Backend cpu = CpuBackend.open();
    Rewards rewards = new Rewards(2, 0.5, 16, Rewards.OFF.classifier());
    try (Scope scope = new Scope(cpu.memory())) {
      Tape tape = Tape.inference(cpu, scope);
      float[] once = mixed(tape, rewards, 1);
      float[] inOtherUnits = mixed(tape, rewards, 1000);

      for (int i = 0; i < 4; i++) {
        assertThat(inOtherUnits[i]).isCloseTo(once[i], within(1e-3f));
      }
      assertThat(once[1] - once[0]).isCloseTo(4 - 1, within(1e-3f));
    }
  }

  private static float[] mixed(Tape tape, Rewards rewards, float unit) {
    SequencedMap<String, Var> each = new LinkedHashMap<>();
    each.put("confidence", tape.constant(Shape.of(4), 0f, 2f, 0f, 2f));
    each.put("sharpness", tape.constant(Shape.of(4), 2 * unit, 0f, 2 * unit, 0f));
    return rewards.mixed(each, 4).value().floats();
  }

  @Test
  void weightsAreNotNegative() {
    assertThatThrownBy(() -> new Rewards(-1, 0, 16, Rewards.OFF.classifier()))
        .hasMessageContaining("confidence and sharpness must be at least 0");
  }
}
