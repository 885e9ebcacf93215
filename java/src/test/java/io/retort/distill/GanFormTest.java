package io.retort.distill;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.retort.backend.CpuBackend;
import io.retort.grad.Tape;
import io.retort.grad.Var;
import io.retort.op.Backend;
import io.retort.tensor.DType;
import io.retort.tensor.Scope;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.function.BiFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// The losses of every form against float64 ones, their gradients against finite differences of
/// those.
class GanFormTest {
  private static final int[] PLACES = {6, 2};

  /// Logits of two heads, none of them where a hinge bends.
  private static double[][] logits(long seed) {
    Random random = new Random(seed);
    double[][] heads = new double[PLACES.length][];
    for (int head = 0; head < heads.length; head++) {
      heads[head] = random.doubles(PLACES[head]).map(u -> (float) (4 * u - 2)).toArray();
    }
    return heads;
  }

  private static double softplus(double x) {
    return Math.log1p(Math.exp(x));
  }

  private static double mean(double[][] a, double[][] b, BiFunction<Double, Double, Double> f) {
    double sum = 0;
    for (int head = 0; head < a.length; head++) {
      for (int i = 0; i < a[head].length; i++) {
        sum += f.apply(a[head][i], b[head][i]) / a[head].length / a.length;
      }
    }
    return sum;
  }

  private static double generator(GanForm form, double[][] fake, double[][] real) {
    return mean(
        fake,
        real,
        (f, r) ->
            switch (form) {
              case NON_SATURATING -> softplus(-f);
              case HINGE -> -f;
              case RELATIVISTIC -> softplus(r - f);
            });
  }

  private static double discriminator(GanForm form, double[][] fake, double[][] real) {
    return mean(
        fake,
        real,
        (f, r) ->
            switch (form) {
              case NON_SATURATING -> softplus(f) + softplus(-r);
              case HINGE -> Math.max(0, 1 + f) + Math.max(0, 1 - r);
              case RELATIVISTIC -> softplus(f - r);
            });
  }

  private interface Wide {
    double of(double[][] fake, double[][] real);
  }

  private static void check(BiFunction<List<Var>, List<Var>, Var> loss, Wide wide) {
    Backend cpu = CpuBackend.open();
    double[][] fake = logits(1);
    double[][] real = logits(2);
    try (Scope scope = new Scope(cpu.memory())) {
      Tape tape = new Tape(cpu, scope, Set.of());
      Tensor[] sinks = new Tensor[PLACES.length];
      Var[] tracked = new Var[PLACES.length];
      Var[] constant = new Var[PLACES.length];
      for (int head = 0; head < PLACES.length; head++) {
        Shape shape = Shape.of(2, PLACES[head] / 2);
        sinks[head] = scope.zeros(shape, DType.F32);
        tracked[head] = tape.tracked(scope.of(shape, floats(fake[head])), sinks[head]);
        constant[head] = tape.constant(shape, floats(real[head]));
      }
      Var total = loss.apply(List.of(tracked), List.of(constant));
      tape.backward(total);

      assertThat((double) total.item()).isCloseTo(wide.of(fake, real), within(1e-6));
      for (int head = 0; head < PLACES.length; head++) {
        for (int i = 0; i < PLACES[head]; i++) {
          double before = fake[head][i];
          fake[head][i] = before + 1e-6;
          double above = wide.of(fake, real);
          fake[head][i] = before - 1e-6;
          double below = wide.of(fake, real);
          fake[head][i] = before;
          assertThat((double) sinks[head].floats()[i])
              .isCloseTo((above - below) / 2e-6, within(1e-6));
        }
      }
    }
  }

  private static float[] floats(double[] wide) {
    float[] narrow = new float[wide.length];
    for (int i = 0; i < narrow.length; i++) {
      narrow[i] = (float) wide[i];
    }
    return narrow;
  }

  @ParameterizedTest
  @EnumSource(GanForm.class)
  void theGeneratorsLoss(GanForm form) {
    check(form::generator, (fake, real) -> generator(form, fake, real));
  }

  @ParameterizedTest
  @EnumSource(GanForm.class)
  void theDiscriminatorsLoss(GanForm form) {
    check(form::discriminator, (fake, real) -> discriminator(form, fake, real));
  }

  @Test
  void thePenalty() {
    check(GanForm::change, (fake, real) -> mean(fake, real, (f, r) -> (f - r) * (f - r)));
  }
}
